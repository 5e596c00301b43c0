"""Whatever comes from a queue: no crash, nothing lost, nothing off its contract handled."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from antiphon.app import App
from antiphon.devservices import Postgres
from antiphon.roles import declare, orchestrating, reacting
from antiphon.rooms import Rooms, open_rooms, open_store
from antiphon.settings import Settings
from bus.envelope import event_of
from bus.port import Message, Outgoing
from contracts.errors import AntiphonError
from orchestrator import wire
from orchestrator.flow import run_id_of
from store import tables
from tests.antiphon.signed_house import Seen, make_app
from tests.fuzz.conftest import LONG
from tests.fuzz.messages import good, messages
from tests.logging_kept import silence

QUEUES = ("reactor.watch", "reactor.watch.dead", "service.bank", "orchestrator.events", "partition.0")
LIMIT = 30.0
CALM = settings(
    settings.get_profile("long" if LONG else "short"),
    max_examples=500 if LONG else 25,  # of up to 15 messages each
)


class Edge:
    """A house in one process whose queues take anything: without signatures, so that contracts decide."""

    def __init__(self, folder: Path, postgres_url: str | None) -> None:
        self._postgres_url = postgres_url
        self.seen = Seen()
        self.app: App = make_app(self.seen, folder / "contracts")
        self.settings = Settings(
            home=folder, partitions=1, signing="off", workspace="acme", log_level="error", renew_seconds=0.5
        )
        self.rooms: Rooms
        self._stack = AsyncExitStack()
        self._numbers = itertools.count()

    async def open(self) -> None:
        """Everything at work."""
        self.rooms = await self._stack.enter_async_context(open_rooms(self.settings, "up", alone=True))
        if self._postgres_url is not None:  # the bus stays in its file: it is the volume that counts here
            settings = self.settings.model_copy(update={"database_url": self._postgres_url})
            store = await self._stack.enter_async_context(open_store(settings, migrate=True))
            self.rooms = replace(self.rooms, database=store, settings=settings)
        await declare(self.app, self.rooms)
        await self._stack.enter_async_context(
            reacting(self.app, self.rooms, reactors=self.app.reactors, services=self.app.services)
        )
        await self._stack.enter_async_context(orchestrating(self.app, self.rooms))

    async def close(self) -> None:
        """Everything drained."""
        await self._stack.aclose()

    async def put(self, queue: str, raw: list[tuple[bytes, str, dict[str, str | int]]]) -> list[Message]:
        """Put messages straight on a queue, each under an id of its own, and wait until all are settled."""
        sent = [
            Message(f"fuzz-{next(self._numbers)}", body, content_type, headers)
            for body, content_type, headers in raw
        ]
        await self.rooms.bus.publish(*(Outgoing(message, queue) for message in sent))
        await self.settled(queue)
        return sent

    async def settled(self, queue: str) -> None:
        """Wait until nothing is on a queue, or in somebody's hands."""
        async with asyncio.timeout(LIMIT):
            while True:
                stats = await self.rooms.bus.stats(queue)
                if not stats.ready and not stats.unsettled:
                    return
                await asyncio.sleep(0.01)

    async def fates(self, queue: str, sent: list[Message]) -> dict[str, str]:
        """What became of each message, by its id."""

        def read(connection: Connection) -> dict[str, str]:
            held = tables.quarantine.c
            found = {
                row.message_id: f"quarantined: {row.reason}"
                for row in connection.execute(select(held.message_id, held.reason))
            }
            reactions = tables.reactions.c
            reacted = {
                (row.source, row.event_id): row.status
                for row in connection.execute(select(reactions.source, reactions.event_id, reactions.status))
            }
            for message in sent:
                event = _event(message)
                if message.id not in found and event is not None and (event.source, event.id) in reacted:
                    found[message.id] = reacted[event.source, event.id]
            return {message.id: found[message.id] for message in sent if message.id in found}

        return await self.rooms.database.read(read)

    async def works(self, queue: str) -> None:
        """The next good message is handled: the consumer outlived what came before."""
        id = f"good-{next(self._numbers)}"
        if queue.startswith("reactor."):
            await self.rooms.bus.publish(Outgoing(good("trip.booked.v1", id, {"id": id}), "reactor.watch"))
            await self._until(lambda: id in self.seen.booked)
        elif queue == "service.bank":
            await self.rooms.bus.publish(Outgoing(_command(id), queue))
            await self._until(lambda: id in self.seen.held)
        else:
            await self.rooms.bus.publish(
                Outgoing(good("trip.over.v1", id, {"id": id}), "orchestrator.events")
            )
            async with asyncio.timeout(LIMIT):
                while not await self.rooms.database.read(lambda connection: _kept(connection, id)):
                    await asyncio.sleep(0.01)

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                await asyncio.sleep(0.01)


def _event(message: Message) -> Any:
    try:
        return event_of(message)
    except AntiphonError:
        return None


def _command(id: str) -> Message:
    message = good("bank.hold.v1", id, {"id": id})
    extra = {"cloudEvents:runid": "r", "cloudEvents:node": "hold", "cloudEvents:attempt": "1"}
    headers = {**message.headers, **extra, "cloudEvents:replyto": "0"}
    return Message(message.id, message.body, message.content_type, headers)


def _kept(connection: Connection, key: str) -> bool:
    """Whether an event was taken by the partition of the run that it names."""
    run_id = run_id_of("acme", "trip", key)
    early = tables.early_events.c
    return connection.execute(select(early.run_id).where(early.run_id == run_id)).first() is not None


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: Postgres
) -> Iterator[tuple[asyncio.Runner, Edge]]:
    """One house for all examples, on a loop of its own. PostgreSQL takes less into its text than SQLite."""
    url = postgres.create_database() if request.param == "postgresql" else None
    edge = Edge(tmp_path_factory.mktemp("edge"), url)
    with silence(), asyncio.Runner() as runner:
        runner.run(edge.open())
        yield runner, edge
        runner.run(edge.close())


@pytest.mark.parametrize("queue", QUEUES)
@CALM
@given(raw=st.lists(messages, min_size=5, max_size=15))
def test_any_message_ends_visibly_and_the_next_good_one_is_handled(
    running: tuple[asyncio.Runner, Edge], queue: str, raw: list[tuple[bytes, str, dict[str, str | int]]]
) -> None:
    """Bytes, types and headers as they come, straight on each kind of queue."""
    runner, edge = running

    async def scene() -> None:
        before = (len(edge.seen.booked), len(edge.seen.held))
        sent = await edge.put(queue, raw)
        fates = await edge.fates(queue, sent)
        for message in sent:
            event = _event(message)
            if message.id in fates:
                continue
            # What has no row was something that a partition understands, and that changes no run.
            assert queue in ("partition.0", "orchestrator.events"), (queue, message)
            assert event is not None, message
            if queue == "partition.0":
                wire.read(event, 0)
            else:
                edge.app.registry.validate(event.type, event.data)
        handled = edge.seen.booked[before[0] :] + edge.seen.held[before[1] :]
        assert all(isinstance(id, str) for id in handled), "the contract wants a text"
        await edge.works(queue)

    runner.run(scene())
