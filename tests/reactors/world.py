"""A bus, a database and a registry for reactors, with what tests do to them over and over."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Table, select

from bus.embedded import EmbeddedBus
from bus.envelope import event_of, message_of, publication
from bus.port import COMMANDS, DIRECT, PARTITIONS, Binding, Bus, Message, Outgoing, Queue
from bus.rabbit import RabbitBus
from contracts.envelope import Event
from contracts.registry import Registry
from reactors.runtime import ReactorRuntime
from store.database import Database
from store.live import MemoryLive
from store.tables import metadata, reactions

BOOKED = "ride.booked.v1"
TOLD = "rider.told.v1"
AUTHORIZE = "payments.authorize.v1"
AUTHORIZED = "payments.authorized.v1"
WORKSPACE = "acme"
LIMIT = 30.0  # seconds until a test gives up waiting

_counter = itertools.count()


def make_registry() -> Registry:
    """Contracts of a small world."""
    registry = Registry()
    ride = {
        "type": "object",
        "properties": {"ride_id": {"type": "string"}, "fare": {"type": "number"}},
        "required": ["ride_id"],
        "additionalProperties": False,
    }
    registry.add(BOOKED, ride)
    registry.add(
        TOLD, {"type": "object", "required": ["ride_id"], "properties": {"ride_id": {"type": "string"}}}
    )
    registry.add(
        AUTHORIZE, {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}}}
    )
    registry.add(
        AUTHORIZED, {"type": "object", "required": ["hold"], "properties": {"hold": {"type": "string"}}}
    )
    return registry


async def open_bus(where: str, database: Database | None = None) -> Bus:
    """A started bus: RabbitMQ at an amqp URL, else embedded in the file ``where``."""
    if where.startswith("amqp"):
        bus: Bus = RabbitBus(where)
    else:
        storage = database or await Database.open(f"sqlite:///{where}")
        bus = EmbeddedBus(storage, lock=Path(f"{where}.lock"))
    await bus.start()
    return bus


class World:
    """What the tests see. ``bus_at`` and ``database_url`` let another process join."""

    def __init__(self, bus_at: str, database_url: str) -> None:
        self.bus_at = bus_at
        self.database_url = database_url
        self.registry = make_registry()
        self.live = MemoryLive()
        self._storage: Database | None = None
        self._runtimes: list[ReactorRuntime] = []

    async def open(self) -> None:
        self.database = await Database.open(self.database_url)
        await self.database.write(metadata.create_all)
        await self.open_bus()

    async def open_bus(self) -> None:
        if not self.bus_at.startswith("amqp"):
            self._storage = await Database.open(f"sqlite:///{self.bus_at}")
        self.bus = await open_bus(self.bus_at, self._storage)

    async def close_bus(self) -> None:
        await self.bus.close()
        if self._storage is not None:
            await self._storage.close()
            self._storage = None

    async def close(self) -> None:
        for runtime in self._runtimes:
            await runtime.stop(drain=0.5)
        await self.close_bus()
        await self.database.close()

    def runtime(self, *reactors: Any, services: Any = (), **options: Any) -> ReactorRuntime:
        """A runtime that is not started, with an incarnation of its own."""
        settings: dict[str, Any] = {
            "bus": self.bus,
            "database": self.database,
            "live": self.live,
            "registry": self.registry,
            "source": "/test",
            "incarnation": f"test-{next(_counter)}",
            "database_url": self.database_url,
        }
        return ReactorRuntime(reactors, services, **{**settings, **options})

    async def run(self, *reactors: Any, services: Any = (), **options: Any) -> ReactorRuntime:
        """A started runtime, stopped with the world."""
        runtime = self.runtime(*reactors, services=services, **options)
        await runtime.start()
        self._runtimes.append(runtime)
        return runtime

    async def publish(self, *events: Event) -> None:
        await self.bus.publish(*map(publication, events))

    async def put(self, queue: str, body: bytes, headers: dict[str, str | int] | None = None) -> None:
        """Put bytes straight on a queue."""
        message = Message(f"raw-{next(_counter)}", body, headers=headers or {})
        await self.bus.publish(Outgoing(message, queue, DIRECT))

    async def command(self, event: Event, service: str) -> None:
        await self.bus.publish(Outgoing(message_of(event), service, COMMANDS))

    async def listen(self, type: str) -> Listener:
        """A queue of its own for events of a type, from now on."""
        return await self._listener(Queue(f"listener.{next(_counter)}", (Binding("antiphon.events", type),)))

    async def listen_for_replies(self, key: str = "p7") -> Listener:
        return await self._listener(Queue(f"listener.{next(_counter)}", (Binding(PARTITIONS, key),)))

    async def _listener(self, queue: Queue) -> Listener:
        await self.bus.declare(queue)
        return Listener(await self.bus.subscribe(queue.name, prefetch=100))

    async def rows(self, table: Table, **where: Any) -> list[dict[str, Any]]:
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))
        found = await self.database.read(lambda conn: list(conn.execute(query).mappings()))
        return [dict(row) for row in found]

    async def statuses(self, reactor: str) -> list[str]:
        return [row["status"] for row in await self.rows(reactions, reactor=reactor)]

    async def until_settled(self, reactor: str, *statuses: str) -> None:
        """Until the reactions of a reactor have exactly these statuses, in whatever order."""

        async def settled() -> bool:
            return sorted(await self.statuses(reactor)) == sorted(statuses)

        await until(settled, lambda: f"{reactor} to be {statuses}")

    async def until_rows(self, table: Table, count: int, **where: Any) -> list[dict[str, Any]]:
        async def there() -> bool:
            return len(await self.rows(table, **where)) >= count

        await until(there, lambda: f"{count} rows in {table.name}")
        return await self.rows(table, **where)

    async def until_empty(self, queue: str) -> None:
        """Until everything on a queue is acked."""

        async def empty() -> bool:
            stats = await self.bus.stats(queue)
            return stats.ready == 0 and not stats.unsettled

        await until(empty, lambda: f"{queue} to be empty")


class Listener:
    """Receives events, acks them, and keeps them."""

    def __init__(self, subscription: Any) -> None:
        self._subscription = subscription
        self._waiting: list[Event] = []

    async def next(self) -> Event:
        if not self._waiting:
            deliveries = await asyncio.wait_for(self._subscription.receive(100), LIMIT)
            await self._subscription.ack(deliveries)
            self._waiting += [event_of(delivery.message) for delivery in deliveries]
        return self._waiting.pop(0)

    async def next_reply(self) -> dict[str, Any]:
        data: dict[str, Any] = (await self.next()).data
        return data


async def until(condition: Callable[[], Awaitable[bool]], what: Callable[[], str]) -> None:
    """Look until it is so. Raises TimeoutError with what did not come."""
    try:
        async with asyncio.timeout(LIMIT):
            while not await condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise TimeoutError(f"waited {LIMIT} s for {what()}") from None


def booked(ride: str = "r1", *, id: str | None = None, workspace: str = WORKSPACE, **data: Any) -> Event:
    """A ride was booked."""
    return Event.create(
        BOOKED,
        {"ride_id": ride, **data},
        id=id or f"e-{next(_counter)}",
        source="/test/booking",
        at=1_700_000_000.0,
        workspace=workspace,
        correlation=f"story-{ride}",
    )


def authorize(id: str = "c1", *, attempt: int = 1, replyto: str | None = "p7", data: Any = None) -> Event:
    """A command to the payments service, as the orchestrator sends it."""
    extensions = {"runid": "run-1", "node": "authorize_payment", "attempt": str(attempt)}
    if replyto is not None:
        extensions["replyto"] = replyto
    return Event.create(
        AUTHORIZE,
        {"amount": 12.5} if data is None else data,
        id=id,
        source=f"/{WORKSPACE}/flows/ride",
        at=1_700_000_000.0,
        workspace=WORKSPACE,
        correlation="story-1",
        extensions=extensions,
    )


def headers_of(event: Event) -> dict[str, str | int]:
    return {**event.headers()}


def decoded(text: str) -> Any:
    return orjson.loads(text)
