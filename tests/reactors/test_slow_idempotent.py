"""An idempotent handler that takes its time is claimed while it is at work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.envelope import message_of
from contracts.envelope import Event
from contracts.errors import StoreUnavailable, Terminal
from reactors import reacting
from reactors.claims import Claim, Claimed, Crashed, Held, Key, Settled, Verdict
from reactors.inbox import Inbox
from reactors.letter import Letter
from reactors.presence import Presence
from reactors.reactor import reacts_to
from reactors.settlements import Settlement
from store.tables import dead_letters, events, reactions
from tests.reactors.counting import Counting, fail_until_dead, make_ledger, rides
from tests.reactors.world import BOOKED, TOLD, World, booked


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers are slow sooner than they are otherwise."""
    monkeypatch.setattr(reacting, "_CLAIM_AFTER", 0.2)


async def test_one_that_is_slow_is_claimed_while_it_is_at_work(world: World, slow: None) -> None:
    """It is seen, with the time when it began, and settled as the others are; a repeat stays one."""
    await make_ledger(world)
    counting = Counting()
    counting.go.clear()
    await world.run(counting.reactor, incarnation="one")
    event = booked("r1")
    await world.publish(event)
    await world.until_settled("count", "claimed")
    (before,) = await world.rows(reactions)
    assert (before["attempts"], before["claimed_by"], before["finished_at"]) == (1, "one", None)
    await asyncio.sleep(0.05)
    counting.go.set()
    await world.until_settled("count", "done")
    await world.publish(event)
    await world.until_empty("reactor.count")
    (row,) = await world.rows(reactions)
    assert row["received_at"] == row["started_at"] == before["started_at"]
    assert row["finished_at"] - row["started_at"] >= 0.25
    assert (row["attempts"], row["crashes"], row["status"]) == (1, 0, "done")
    assert await rides(world) == ["r1"]
    assert len(await world.rows(events, type=TOLD)) == 1


async def test_one_that_is_slow_and_fails_counts_as_the_first_attempt(world: World, slow: None) -> None:
    """It is tried as often as its policy says, and not once more."""
    assert await fail_until_dead(world, takes=0.4) == [1, 2, 3]
    (letter,) = await world.rows(dead_letters)
    assert (letter["attempts"], letter["error_message"]) == (3, "no")


async def test_a_refusal_says_when_the_handler_began(world: World, slow: None) -> None:
    """Its letter and its reaction agree."""

    @reacts_to(BOOKED, idempotent=True)
    async def count(event: dict[str, Any]) -> None:
        await asyncio.sleep(0.4)
        raise Terminal("never")

    await world.run(count)
    await world.publish(booked("r1"))
    await world.until_settled("count", "dead")
    (letter,) = await world.rows(dead_letters)
    (row,) = await world.rows(reactions)
    assert letter["received_at"] == row["received_at"] == row["started_at"]
    assert row["finished_at"] - row["started_at"] >= 0.35


@pytest.mark.parametrize("other", ["holds it", "has done it", "was taken down by it"])
async def test_what_another_process_has_by_then_is_left_as_it_is(
    world: World, slow: None, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """The handler has run for nothing: its SQL has not, and what it emitted is known."""
    await make_ledger(world)
    claim, verdicts = Inbox.claim, list[Verdict]()

    async def recorded(self: Inbox, one: Claim) -> Verdict:
        verdicts.append(await claim(self, one))
        return verdicts[-1]

    monkeypatch.setattr(Inbox, "claim", recorded)
    counting, event = Counting(), booked("r1")
    counting.go.clear()
    await world.run(counting.reactor, incarnation="one", most_crashes=1)
    await world.publish(event)
    await counting.begun.wait()
    presence = Presence(world.database, url=None, incarnation="two", role="reactors", name="test")
    if other != "was taken down by it":
        await presence.start()
    mine = Claim(Key("count", event.source, event.id), Letter("count", "q", event, message_of(event)))
    two = Inbox(world.database, incarnation="two")
    claimed = await two.claim(mine)
    assert isinstance(claimed, Claimed)
    settlement = Settlement(mine.key, claimed, mine.letter, "done")
    if other == "has done it":
        assert await two.settle(settlement)
    while len(verdicts) < 2:
        await asyncio.sleep(0.01)
    late = {"holds it": Held, "has done it": Settled, "was taken down by it": Crashed}[other]
    assert isinstance(verdicts[1], late)
    counting.go.set()
    await world.until_rows(events, 1, type=TOLD)
    if other == "holds it":
        assert await world.statuses("count") == ["claimed"]
        assert await two.settle(settlement)
    await world.until_empty("reactor.count")
    assert await world.statuses("count") == ["dead" if late is Crashed else "done"]
    assert len(await world.rows(dead_letters)) == (late is Crashed)
    assert counting.calls == [1]
    assert await rides(world) == []
    await presence.stop()


async def test_one_that_is_slow_gives_its_claim_back_when_its_process_stops(world: World, slow: None) -> None:
    """The next one need not wait until this one is taken for dead, and counts no crash."""
    await make_ledger(world)
    counting = Counting()
    counting.go.clear()
    first = await world.run(counting.reactor, incarnation="one")
    await world.publish(booked("r1"))
    await world.until_settled("count", "claimed")
    await first.stop(drain=0.05)
    await world.run(counting.reactor, incarnation="two")
    while len(counting.calls) < 2:
        await asyncio.sleep(0.01)
    counting.go.set()
    await world.until_settled("count", "done")
    (row,) = await world.rows(reactions)
    assert (row["claimed_by"], row["crashes"], row["attempts"]) == ("two", 0, 1)
    assert await rides(world) == ["r1"]


async def test_a_bug_in_the_way_of_a_slow_one_gives_its_claim_back(
    world: World, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process lives on, so that nobody would be let in for as long; the message comes again."""
    await make_ledger(world)
    publish, first = reacting.ReactorDesk._publish, iter([True])

    async def broken(self: reacting.ReactorDesk, told: list[Event]) -> Any:
        if next(first, False):
            raise RuntimeError("a bug")
        return await publish(self, told)

    monkeypatch.setattr(reacting.ReactorDesk, "_publish", broken)
    counting = Counting()
    counting.go.clear()
    await world.run(counting.reactor)
    await world.publish(booked("r1"))
    await world.until_settled("count", "claimed")
    counting.go.set()
    await world.until_settled("count", "retrying")  # for the second until the message is handed out again
    await world.until_settled("count", "done")
    (row,) = await world.rows(reactions)
    assert (row["crashes"], row["attempts"]) == (0, 1)
    assert len(counting.calls) == 2
    assert await rides(world) == ["r1"]


async def test_who_stops_while_a_late_claim_has_no_answer_does_not_wait_for_the_store(
    world: World, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away holds up no stop; what was in hand comes again."""
    await make_ledger(world)
    monkeypatch.setattr(reacting, "RETURN_TIMEOUT", 0.1)
    asked, claim = asyncio.Event(), Inbox.claim

    async def away(self: Inbox, one: Claim) -> Verdict:
        asked.set()
        raise StoreUnavailable("away")

    monkeypatch.setattr(Inbox, "claim", away)
    counting = Counting()
    counting.go.clear()
    first = await world.run(counting.reactor, incarnation="one")
    await world.publish(booked("r1"))
    await asked.wait()
    await first.stop(drain=0.05)
    monkeypatch.setattr(Inbox, "claim", claim)
    counting.go.set()
    await world.run(counting.reactor, incarnation="two")
    await world.until_settled("count", "done")
    assert counting.calls == [1, 1]
    assert await rides(world) == ["r1"]
