"""One process of the platform: opens its rooms, starts its roles, drains them at SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Literal

import structlog

from antiphon.app import App
from antiphon.roles import Address, declare, orchestrating, reacting, serving
from antiphon.rooms import open_rooms
from antiphon.settings import Settings

__all__ = ["Role", "run_process"]

log = structlog.get_logger(__name__)

Role = Literal["up", "gateway", "orchestrator", "reactors", "service"]


async def run_process(
    app: App,
    settings: Settings,
    role: Role,
    *,
    service: str | None = None,
    on_ready: Callable[[Address | None], None],
    until: asyncio.Event | None = None,
) -> None:
    """Run a role until SIGTERM, SIGINT, or ``until`` is set. ``up`` is every role at once.

    ``on_ready`` is called once everything works. Raises ConfigurationError, StoreUnavailable,
    BusUnavailable when it can't be started.
    """
    stop = until or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    everything = role == "up"
    signs_as = (service or "services") if role == "service" else None
    async with AsyncExitStack() as stack:
        rooms = await stack.enter_async_context(
            open_rooms(settings, role, alone=everything, signs_as=signs_as)
        )
        await declare(app, rooms)
        # Left in the reverse order: first nothing new is let in, last what was let in is finished.
        if everything or role in ("reactors", "service"):
            chosen = app.services if service is None else (app.service(service),)
            await stack.enter_async_context(
                reacting(
                    app,
                    rooms,
                    reactors=app.reactors if role != "service" else (),
                    services=chosen if role != "reactors" else (),
                )
            )
        if everything or role == "orchestrator":
            await stack.enter_async_context(orchestrating(app, rooms))
        address = None
        if everything or role == "gateway":
            address = await stack.enter_async_context(serving(app, rooms))
        on_ready(address)
        await stop.wait()
        log.info("draining", role=role, seconds=settings.drain_seconds)
    log.info("stopped", role=role)
