"""A house on RabbitMQ, each role with rooms and a key of its own, and a stranger who sees what travels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from antiphon.app import App
from antiphon.keys import ROLES, KeyMaker, role_of
from antiphon.roles import declare, orchestrating, reacting
from antiphon.rooms import Rooms, open_rooms
from antiphon.settings import Settings
from bus.envelope import publication
from bus.port import COMMANDS, DIRECT, EVENTS, PARTITIONS, Binding, Delivery, Message, Outgoing, Queue
from bus.rabbit import RabbitBus
from bus.signed import SignedBus
from contracts.envelope import Event
from orchestrator.client import Client
from orchestrator.flow import Flow
from orchestrator.nodes import emit, step, wait
from reactors.context import ReactionContext
from reactors.reactor import reacts_to
from reactors.service import CommandContext, Service
from store.migrate import migrate
from store.tables import quarantine, runs

LIMIT = 30.0  # seconds until a test gives up
ROLES_HERE = ("gateway", "orchestrator", "reactors", "bank")
TYPES = ("trip.asked.v1", "trip.over.v1", "trip.booked.v1", "bank.hold.v1")

# Where a message may be put, and the queue that it then waits on.
WAYS = {
    "reactor.watch": (EVENTS, "trip.booked.v1"),
    "orchestrator.events": (EVENTS, "trip.over.v1"),
    "service.bank": (COMMANDS, "bank"),
    "partition.0": (PARTITIONS, "0"),
}


@dataclass
class Seen:
    """What was handled, by the ids in the data."""

    booked: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def make_app(seen: Seen, folder: Path) -> App:
    """A flow that asks a service, waits for an event and emits one, which a reactor hears."""
    for type in TYPES:
        domain, name, version = type.split(".")
        path = folder / domain / f"{name}.{version}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:test:{type}",
            "description": "A message of the test.",
            "examples": [{"id": "t-1"}],
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string"}},
        }
        path.write_bytes(orjson.dumps(schema))
    bank = Service("bank")

    @bank.handles("bank.hold.v1")
    async def hold(command: Event, ctx: CommandContext) -> dict[str, Any]:
        seen.held.append(command.data["id"])
        return {}

    @reacts_to("trip.booked.v1")
    async def watch(event: Event, ctx: ReactionContext) -> None:
        seen.booked.append(event.data["id"])

    data = {"id": "$.input.id"}
    flow = Flow(
        "trip",
        version=1,
        key="id",
        input="trip.asked.v1",
        steps=[
            step("hold", at="bank", command="bank.hold.v1", data=data),
            wait("trip.over.v1", by="id", name="over"),
            emit("trip.booked.v1", data),
        ],
    )
    return App("trips", flows=[flow], reactors=[watch], services=[bank], contracts=folder)


class SignedHouse:
    """The roles at work, and what a test does to them.

    With more ``partitions``, its client is still one from when there was one.
    """

    def __init__(self, folder: Path, amqp: str, mode: str, *, partitions: int = 1) -> None:
        self.seen = Seen()
        self.app = make_app(self.seen, folder / "contracts")
        self.keys = folder / "keys"
        self.maker = KeyMaker(self.keys)
        self.amqp = amqp
        self.settings = Settings(
            amqp_url=amqp,
            home=folder,
            partitions=partitions,
            signing=mode,  # type: ignore[arg-type]
            workspace="acme",
            renew_seconds=0.5,
        )
        self.rooms: dict[str, Rooms] = {}
        self.stranger = RabbitBus(amqp)
        self.tapped: dict[str, list[Delivery]] = {queue: [] for queue in WAYS}

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[SignedHouse]:
        """Every role started, and drained in the end."""
        await migrate(self.settings.database_url)
        for name in ROLES_HERE:
            self.maker.ensure(name, ROLES[role_of(name)](name))
        async with AsyncExitStack() as stack:
            for name in ROLES_HERE:
                rooms = open_rooms(self.settings, name, alone=False, signs_as=name)
                self.rooms[name] = await stack.enter_async_context(rooms)
            await declare(self.app, self.rooms["gateway"])
            await self.stranger.start()
            stack.push_async_callback(self.stranger.close)
            for queue, (exchange, key) in WAYS.items():
                tap = Queue(f"tap.{queue}", (Binding(exchange, key),))
                await self.stranger.declare(tap)
                task = asyncio.create_task(self._tap(tap.name, self.tapped[queue]))
                stack.push_async_callback(_end, task)
            app, rooms = self.app, self.rooms
            await stack.enter_async_context(reacting(app, rooms["reactors"], reactors=app.reactors))
            await stack.enter_async_context(reacting(app, rooms["bank"], services=app.services))
            await stack.enter_async_context(orchestrating(app, rooms["orchestrator"]))
            self.client = Client(
                app.flows,
                bus=rooms["gateway"].bus,
                database=rooms["gateway"].database,
                live=rooms["gateway"].live,
                check=app.registry.validate,
                incarnation="test-gateway",
                partitions=1,
            )
            yield self

    async def _tap(self, queue: str, into: list[Delivery]) -> None:
        subscription = await self.stranger.subscribe(queue, prefetch=100)
        while got := await subscription.receive(100):
            into.extend(got)
            await subscription.ack(got)

    async def trip(self, id: str) -> None:
        """One run from its start to the reactor, as it should go."""
        await self.client.start("acme", "trip", {"id": id}, start_id=f"start-{id}")
        await self.over(id)
        await until(lambda: id in self.seen.booked, f"trip {id} to be heard of")

    async def over(self, id: str) -> None:
        """The event that a trip waits for, published by the gateway."""
        event = Event.create(
            "trip.over.v1", {"id": id}, id=f"over-{id}", source="/acme/web", at=1.0, workspace="acme"
        )
        await self.rooms["gateway"].bus.publish(publication(event))

    async def put(self, message: Message, exchange: str, key: str) -> None:
        """What a stranger puts on the bus: past every signature of ours."""
        await self.stranger.publish(Outgoing(message, key, exchange))

    async def straight(self, message: Message, queue: str) -> None:
        """The same, straight on a queue."""
        await self.put(message, DIRECT, queue)

    async def quarantined(self) -> list[tuple[str, str]]:
        """Queue and reason of everything in quarantine."""
        query = select(quarantine.c.queue, quarantine.c.reason)
        rows = await self.rooms["gateway"].database.read(lambda conn: list(conn.execute(query)))
        return sorted((row.queue, row.reason) for row in rows)

    async def until_quarantined(self, count: int) -> list[tuple[str, str]]:
        """The same, once there are that many."""
        async with asyncio.timeout(LIMIT):
            while len(found := await self.quarantined()) < count:
                await asyncio.sleep(0.05)
        return found

    async def ended(self) -> list[str]:
        """The keys of the runs that are completed."""
        query = select(runs.c.key).where(runs.c.status == "completed")
        rows = await self.rooms["gateway"].database.read(lambda conn: list(conn.execute(query)))
        return sorted(row.key for row in rows)

    def let_through(self) -> int:
        """How many messages the roles have let through that strict would have refused."""
        buses = [rooms.bus for rooms in self.rooms.values()]
        return sum(bus.refused.total() for bus in buses if isinstance(bus, SignedBus))


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(LIMIT):
            while True:
                holds = condition()
                if holds if isinstance(holds, bool) else await holds:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {LIMIT} s for {what}") from None
