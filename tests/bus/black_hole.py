"""A way to a broker that can swallow everything, as a firewall or a frozen machine does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

__all__ = ["BlackHole"]


class BlackHole:
    """Forwards what comes to ``url`` to the one at ``broker``, as long as ``open`` is set."""

    def __init__(self, broker: str) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.broker = broker
        self._pumps: set[asyncio.Task[None]] = set()
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def before(cls, broker: str) -> AsyncIterator[BlackHole]:
        """One in front of the broker of this URL."""
        hole = cls(broker)
        server = await asyncio.start_server(hole._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        hole.url = broker.replace(f":{urlsplit(broker).port}/", f":{port}/")
        try:
            yield hole
        finally:
            server.close()
            for pump in hole._pumps:
                pump.cancel()
            await asyncio.gather(*hole._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self.broker)
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        for source, sink in ((reader, back), (there, writer)):
            self._pumps.add(asyncio.create_task(self._pump(source, sink)))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self.open.wait()
                sink.write(data)
        finally:
            sink.close()
