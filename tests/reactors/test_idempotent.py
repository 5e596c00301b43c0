"""A reactor that says it is idempotent begins without a claim, and counts once all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from contracts.errors import StoreUnavailable, Terminal
from contracts.retry import Retry
from reactors import reacting
from reactors.context import ReactionContext
from reactors.inbox import Inbox
from reactors.reactor import reacts_to
from reactors.unclaimed import Done
from store.tables import dead_letters, events, reactions
from tests.reactors.counting import QUICK, Counting, enter, fail_until_dead, make_ledger, rides
from tests.reactors.world import BOOKED, TOLD, World, booked


async def test_it_begins_before_anything_is_written(world: World) -> None:
    """And afterwards there is one row with all that it would have had with a claim."""
    await make_ledger(world)
    counting = Counting()
    counting.go.clear()
    await world.run(counting.reactor, incarnation="one")
    await world.publish(booked("r1"))
    await counting.begun.wait()
    assert await world.rows(reactions) == []
    await asyncio.sleep(0.05)
    counting.go.set()
    await world.until_settled("count", "done")
    await world.until_empty("reactor.count")
    (row,) = await world.rows(reactions)
    assert (row["attempts"], row["crashes"], row["redrives"], row["claimed_by"]) == (1, 0, 0, "one")
    assert (row["workspace"], row["type"], row["correlation"]) == ("acme", BOOKED, "story-r1")
    assert row["received_at"] == row["started_at"] <= row["finished_at"] - 0.04
    assert await rides(world) == ["r1"]
    (told,) = await world.rows(events, type=TOLD)
    assert told["at"] >= row["finished_at"]
    assert counting.calls == [1]


async def test_what_it_asks_for_counts_once_when_a_message_comes_twice(world: World) -> None:
    """The handler runs again; its SQL does not, and what it emits has the id of the first time."""
    await make_ledger(world)
    counting, told = Counting(), await world.listen(TOLD)
    await world.run(counting.reactor)
    event = booked("r1")
    await world.publish(event)
    await world.until_settled("count", "done")
    await world.publish(event, booked("r2"))
    await world.until_settled("count", "done", "done")
    await world.until_empty("reactor.count")
    assert counting.calls == [1, 1, 1]
    assert await rides(world) == ["r1", "r2"]
    assert len({(await told.next()).id for _ in range(3)}) == 2
    assert len(await world.rows(events, type=TOLD)) == 2


async def test_two_processes_with_the_same_message_at_the_same_moment(world: World) -> None:
    """Both do it; the ledger has it once."""
    await make_ledger(world)
    counting = Counting()
    counting.go.clear()
    event = booked("r1")
    for name in ("one", "two"):  # a queue gives a message to one of them: each has a copy
        await world.run(counting.reactor, incarnation=name, prefetch=1)
        await world.publish(event)
    while len(counting.calls) < 2:
        await asyncio.sleep(0.01)
    counting.go.set()
    await world.until_settled("count", "done")
    await world.until_empty("reactor.count")
    assert counting.calls == [1, 1]
    assert await rides(world) == ["r1"]


async def test_what_is_done_is_recorded_with_others_that_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as a quarter of the concurrency has gathered; here nothing else would end the wait."""
    monkeypatch.setattr(reacting, "_GATHER", 3_600.0)
    calls: list[str] = []

    @reacts_to(BOOKED, idempotent=True, concurrency=8)
    async def count(event: dict[str, Any]) -> None:
        calls.append(event["ride_id"])

    await world.run(count)
    await world.publish(booked("r1"))
    while not calls:
        await asyncio.sleep(0.01)
    assert await world.statuses("count") == []
    await world.publish(booked("r2"))
    await world.until_settled("count", "done", "done")
    await world.until_empty("reactor.count")


async def test_a_failure_counts_as_the_first_attempt(world: World) -> None:
    """It is tried as often as its policy says, and not once more."""
    assert await fail_until_dead(world, takes=0.0) == [1, 2, 3]
    (letter,) = await world.rows(dead_letters)
    assert (letter["attempts"], letter["error_message"]) == (3, "no")


async def test_a_refusal_is_a_dead_letter_at_once(world: World) -> None:
    """Nothing is tried again that can't work."""
    calls: list[int] = []

    @reacts_to(BOOKED, idempotent=True)
    async def count(event: dict[str, Any], ctx: ReactionContext) -> None:
        calls.append(ctx.attempt)
        raise Terminal("never")

    await world.run(count)
    await world.publish(booked("r1"))
    await world.until_settled("count", "dead")
    assert calls == [1]
    assert len(await world.rows(dead_letters)) == 1


async def test_sql_that_fails_fails_its_own_attempt_only(world: World) -> None:
    """Its neighbours in the same commit are recorded; it is tried again, and is a dead letter then."""
    await make_ledger(world)

    @reacts_to(BOOKED, idempotent=True, transactional=True, retry=QUICK)
    async def count(event: dict[str, Any], ctx: ReactionContext) -> None:
        enter(event["ride_id"], ctx)
        if event["ride_id"] == "bad":
            ctx.execute(lambda conn: conn.execute(text("INSERT INTO nowhere VALUES (1)")))

    await world.run(count)
    await world.publish(*map(booked, ("r1", "bad", "r2")))
    await world.until_settled("count", "done", "dead", "done")
    assert await rides(world) == ["r1", "r2"]
    (letter,) = await world.rows(dead_letters)
    assert (letter["attempts"], "nowhere" in letter["error_message"]) == (3, True)


@pytest.mark.parametrize("kept", [False, True], ids=["not recorded", "recorded, and the answer lost"])
async def test_a_store_that_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """It is recorded once it does, and the handler need not run again."""
    await make_ledger(world)
    record, away = Inbox.record, iter([True])

    async def recorded(self: Inbox, done: Done) -> bool:
        if next(away, False):
            if kept:
                assert await record(self, done)
            raise StoreUnavailable("no answer")
        return await record(self, done)

    monkeypatch.setattr(Inbox, "record", recorded)
    counting = Counting()
    await world.run(counting.reactor)
    await world.publish(booked("r1"))
    await world.until_settled("count", "done")
    await world.until_empty("reactor.count")
    assert counting.calls == [1]
    assert await rides(world) == ["r1"]
    (row,) = await world.rows(reactions)
    assert (row["attempts"], row["crashes"]) == (1, 0)


async def test_what_was_in_hand_when_its_process_ended_is_claimed_by_the_next(world: World) -> None:
    """It may be what ends processes, and that is counted."""
    await make_ledger(world)
    counting = Counting()
    counting.go.clear()
    first = await world.run(counting.reactor, incarnation="one")
    await world.publish(booked("r1"))
    await counting.begun.wait()
    await first.stop(drain=0.05)
    assert await world.rows(reactions) == []
    counting.begun.clear()
    await world.run(counting.reactor, incarnation="two")
    await counting.begun.wait()
    assert [(row["status"], row["claimed_by"]) for row in await world.rows(reactions)] == [("claimed", "two")]
    counting.go.set()
    await world.until_settled("count", "done")
    assert await rides(world) == ["r1"]


async def test_a_copy_of_what_waits_for_its_retry_is_held_back(world: World) -> None:
    """It comes again once, when that is due, and is not handled over and over until then."""
    calls: list[int] = []

    @reacts_to(BOOKED, idempotent=True, retry=Retry(attempts=2, first=1.5, most=1.5, jitter=0))
    async def count(event: dict[str, Any], ctx: ReactionContext) -> None:
        calls.append(ctx.attempt)
        if len(calls) < 3:
            raise RuntimeError("not yet")

    await world.run(count)
    event = booked("r1")
    await world.publish(event)
    await world.until_settled("count", "retrying")
    await world.publish(event)
    await world.until_settled("count", "done")
    await world.until_empty("reactor.count")
    assert calls == [1, 1, 2]
