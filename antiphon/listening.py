"""Serves an ASGI application on one address, inside of a process that has other things to do too."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from contracts.errors import ConfigurationError

__all__ = ["listening"]

_GRACE = 5  # seconds that open requests have to end
_BACKLOG = 2048


class _Server(uvicorn.Server):
    """Leaves signals to the process, which drains every role in order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(http: Any, host: str, port: int) -> AsyncIterator[str]:
    """Serve ``http``; yields the address once it answers. Port 0 takes a free one.

    Raises ConfigurationError when the address can't be had.
    """
    server = _Server(
        uvicorn.Config(
            http,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
    )
    bound = _bind(host, port)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.01)
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"can't listen on {host} port {port}: {error.strerror or error}; set ANTIPHON_HOST and "
            "ANTIPHON_PORT, or --host and --port, to an address that is free"
        ) from error
