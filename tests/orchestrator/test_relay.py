"""The relay: all that was committed gets out, and what can't holds up nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from bus.port import COMMANDS, EVENTS, Bus, Message, Outgoing
from contracts.errors import (
    BusError,
    BusUnavailable,
    NotPermitted,
    PublishFailed,
    PublishRefused,
    Unroutable,
)
from orchestrator import held, relay
from orchestrator.journal import Journal, Post
from orchestrator.nodes import emit
from orchestrator.outbox import MOST_TO_ONE, outbox_row
from orchestrator.relay import Relay
from reactors.service import CommandContext, Service
from store import tables
from store.bulk import insert_rows
from store.database import Database
from tests.orchestrator.flows import flow, remote
from tests.orchestrator.running import House, until

MANY = 2 * MOST_TO_ONE + 200


class Broker:
    """Takes what goes to ``there``; ``failing`` are the ids of what it gives no confirm for."""

    def __init__(self, *there: str) -> None:
        self.there = set(there)
        self.refusal: type[BusError] = Unroutable  # of what goes elsewhere
        self.failing: set[str] = set()
        self.sent: list[str] = []
        self.taken: list[str] = []

    async def publish(self, *outgoing: Outgoing) -> None:
        errors: dict[int, BusError] = {}
        for index, out in enumerate(outgoing):
            self.sent.append(out.message.id)
            if out.message.id in self.failing:
                errors[index] = BusUnavailable("no confirm")
            elif out.routing_key not in self.there:
                errors[index] = self.refusal(f"{out.routing_key} takes nothing")
            else:
                self.taken.append(out.message.id)
        if errors:
            raise PublishFailed(errors)


class Relayed:
    """A relay between a broker and a journal."""

    def __init__(self, broker: Broker, journal: Journal | None = None) -> None:
        self.broker = broker
        self.done: list[int] = []
        self.relay = Relay(cast("Bus", broker), cast("Journal", journal), 0, self._settled)

    def _settled(self, positions: Sequence[int]) -> None:
        self.done.extend(positions)

    async def until(self, condition: Callable[[], bool]) -> None:
        async def so() -> bool:
            return condition()

        await until(so, lambda: f"it: {len(self.broker.taken)} were taken")

    async def until_tried(self, id: str, times: int) -> None:
        await self.until(lambda: self.broker.sent.count(id) >= times)


@pytest.fixture
async def relayed() -> AsyncIterator[Relayed]:
    made = Relayed(Broker("shop"))
    made.relay.start()
    yield made
    await made.relay.stop(0.0)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (held, relay):
        monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.1)


def post(position: int, to: str, exchange: str = COMMANDS) -> Post:
    return Post(position, Outgoing(Message(f"{to}-{position}", b"{}"), to, exchange))


@pytest.mark.parametrize("refusal", [Unroutable, PublishRefused, NotPermitted])
async def test_what_is_refused_holds_up_nothing_else(relayed: Relayed, refusal: type[BusError]) -> None:
    """No queue, a full one, no right: each behind it goes out once, and is done; that one is neither."""
    relayed.broker.refusal = refusal
    with capture_logs() as logs:
        relayed.relay.put([post(0, "bank"), *(post(n, "shop") for n in range(1, MANY))])
        await relayed.until(lambda: len(relayed.done) == MANY - 1)
        await relayed.until_tried("bank-0", 4)
    assert relayed.broker.taken == [f"shop-{n}" for n in range(1, MANY)]
    assert [sent for sent in relayed.broker.sent if sent != "bank-0"] == relayed.broker.taken
    assert relayed.done == list(range(1, MANY))
    assert relayed.relay.depth == 1
    assert [entry["message"] for entry in logs if entry["event"] == "outbox_held_back"] == ["bank-0"]


async def test_what_is_held_back_goes_out_in_its_order(relayed: Relayed) -> None:
    """What undoes a command stays behind it, whenever it comes; one asks for the queue, not all."""
    relayed.relay.put([post(0, "bank"), post(1, "shop"), post(2, "bank")])
    await relayed.until_tried("bank-0", 2)
    relayed.relay.put([post(3, "bank"), post(4, "shop")])
    await relayed.until(lambda: relayed.done == [1, 4])
    await relayed.until_tried("bank-0", 4)
    assert relayed.broker.sent.count("bank-2") == 1
    assert relayed.broker.sent.count("bank-3") == 0
    relayed.broker.there.add("bank")
    await relayed.until(lambda: len(relayed.done) == 5)
    relayed.relay.put([post(5, "bank")])
    await relayed.until(lambda: len(relayed.done) == 6)
    assert relayed.broker.taken == [f"shop-{n}" for n in (1, 4)] + [f"bank-{n}" for n in (0, 2, 3, 5)]
    assert relayed.relay.depth == 0


async def test_an_event_that_a_full_queue_refuses_holds_up_its_type_alone(relayed: Relayed) -> None:
    """It waits, since somebody listens to it, and goes out in its order once there is room."""
    relayed.broker.refusal = PublishRefused
    relayed.relay.put([post(n, ("told", "shop")[n % 2], EVENTS) for n in range(6)])
    await relayed.until(lambda: relayed.done == [1, 3, 5])
    await relayed.until_tried("told-0", 4)
    relayed.broker.there.add("told")
    await relayed.until(lambda: len(relayed.done) == 6)
    assert relayed.broker.taken[3:] == ["told-0", "told-2", "told-4"]


async def test_what_was_confirmed_behind_a_failure_is_not_sent_again(relayed: Relayed) -> None:
    """The broker has it, and the failed ones are sent until it has them too, in their order."""
    relayed.broker.failing = {"shop-1", "shop-3"}
    relayed.relay.put([post(n, "shop") for n in range(5)])
    await relayed.until_tried("shop-3", 3)
    assert relayed.done == [0, 2, 4]
    relayed.broker.failing.clear()
    await relayed.until(lambda: len(relayed.done) == 5)
    assert relayed.broker.taken == [f"shop-{n}" for n in (0, 2, 4, 1, 3)]


async def test_one_without_a_confirm_stays_before_one_without_a_queue(relayed: Relayed) -> None:
    """To the same destination, in the moment in which its queue is deleted, say."""
    relayed.broker.failing = {"bank-0"}
    relayed.relay.put([post(0, "bank"), post(1, "bank"), post(2, "shop")])
    await relayed.until_tried("bank-0", 3)
    relayed.broker.failing.clear()
    relayed.broker.there.add("bank")
    await relayed.until(lambda: len(relayed.done) == 3)
    assert relayed.broker.taken == ["shop-2", "bank-0", "bank-1"]


async def test_held_back_ones_take_neither_room_nor_memory(database: Database) -> None:
    """The partition stays open, a few of them are in memory, and the rest is read when it can go out."""
    broker = Broker("shop")
    relayed = Relayed(broker, Journal(database))
    relayed.relay.start()
    posts = [post(n, "bank") for n in range(6_000)]
    await _commit(database, posts)
    relayed.relay.put(posts)
    await relayed.until_tried("bank-0", 2)
    await asyncio.wait_for(relayed.relay.room(), 20)
    assert relayed.relay.depth <= MOST_TO_ONE
    relayed.relay.put([post(6_000, "shop")])
    await relayed.until(lambda: relayed.done == [6_000])
    broker.there.add("bank")
    await relayed.until(lambda: len(relayed.done) > 1)
    more = [post(n, "bank") for n in range(6_001, 6_100)]
    await _commit(database, more)
    relayed.relay.put(more)
    await relayed.until(lambda: len(set(relayed.done)) == 6_100)
    ids = [each.outgoing.message.id for each in posts + more]
    assert list(dict.fromkeys(broker.taken)) == ["shop-6000", *ids]
    assert relayed.relay.depth == 0
    await relayed.relay.stop(0.0)


async def test_the_next_owner_finds_what_was_held_back(database: Database) -> None:
    """It reads a part, and all of it goes out in order; of events it reads all, for none of them waits."""
    journal, broker = Journal(database), Broker("told", "heard")
    events = [post(n, ("told", "heard")[n % 2], EVENTS) for n in range(2 * MOST_TO_ONE)]
    commands = [post(len(events) + n, "bank") for n in range(MANY)]
    await _commit(database, events + commands)
    left = await journal.outbox(0)
    assert left == events + commands[:MOST_TO_ONE]
    relayed = Relayed(broker, journal)
    relayed.relay.resume(left)
    relayed.relay.start()
    await relayed.until(lambda: len(relayed.done) == len(events))
    assert relayed.relay.depth <= MOST_TO_ONE
    broker.there.add("bank")
    await relayed.until(lambda: len(relayed.done) == len(events + commands))
    assert broker.taken == [each.outgoing.message.id for each in events + commands]
    await relayed.relay.stop(0.0)


async def test_a_service_that_comes_late_gets_its_commands(house: House) -> None:
    """Nobody else waits for it, and neither does who stops meanwhile."""
    missing = flow(remote("hold", timeout="1h"), name="missing")
    other = flow(emit("x.said.v1", {"id": "$.input.id"}))
    await house.orchestrate(missing, other)
    runs = [(await house.start(missing, f"m{n}")).run_id for n in range(8)]
    for n in range(8):
        await house.until((await house.start(other, f"o{n}")).run_id, "completed")

    async def only_commands() -> bool:
        return {row["exchange"] for row in await house.rows(tables.outbox)} == {COMMANDS}

    await until(only_commands, lambda: "the events to be out")
    await house.stop_first()
    assert len(await house.rows(tables.outbox)) == len(runs)
    await house.orchestrate(missing, other)
    bank = Service("bank")

    @bank.handles("bank.hold.v1")
    async def hold(data: dict[str, Any], ctx: CommandContext) -> None:
        """Done."""

    await house.serve(bank)
    for run_id in runs:
        await house.until(run_id, "completed")


async def _commit(database: Database, posts: Sequence[Post]) -> None:
    rows = [outbox_row(0, each) for each in posts]
    await database.write(lambda connection: insert_rows(connection, tables.outbox, rows))
