"""The brokers that the conformance suite runs on, each with a way to come back after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bus.embedded import EmbeddedBus
from bus.port import Bus
from bus.rabbit import RabbitBus
from store.database import Database


class Broker(Protocol):
    """Something durable behind a bus."""

    async def connect(self) -> Bus:
        """A started bus; of an embedded broker, one at a time."""
        ...

    def bus(self) -> Bus:
        """A bus that is not started."""
        ...

    async def close(self) -> None: ...


class Embedded:
    """The embedded bus on a database in memory, or in one file."""

    def __init__(self, database: Database, lock: Path | None) -> None:
        self._database = database
        self._lock = lock
        self._buses: list[EmbeddedBus] = []

    @classmethod
    async def open(cls, path: Path | None) -> Embedded:
        if path is None:
            return cls(await Database.open("sqlite://"), None)
        return cls(await Database.open(f"sqlite:///{path}"), path.with_name(path.name + ".lock"))

    def bus(self) -> EmbeddedBus:
        bus = EmbeddedBus(self._database, lock=self._lock)
        self._buses.append(bus)
        return bus

    async def connect(self) -> EmbeddedBus:
        bus = self.bus()
        await bus.start()
        return bus

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()
        await self._database.close()


class Rabbit:
    """A virtual host of its own on a real RabbitMQ."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._buses: list[RabbitBus] = []

    def bus(self) -> RabbitBus:
        bus = RabbitBus(self._url)
        self._buses.append(bus)
        return bus

    async def connect(self) -> RabbitBus:
        bus = self.bus()
        await bus.start()
        return bus

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()
