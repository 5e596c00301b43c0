"""What a reactor's message goes through."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from bus.port import DIRECT, Outgoing
from bus.routing import LONGEST_DELAY
from contracts.envelope import Event
from contracts.errors import Retryable, Terminal
from contracts.retry import Retry
from reactors.context import ReactionContext
from reactors.reactor import reacts_to
from store.tables import dead_letters, reactions
from tests.reactors.world import BOOKED, LIMIT, WORKSPACE, World, booked, decoded, until

QUICK = Retry(attempts=3, first=0.05, factor=1.0, most=0.05)


async def test_handled_once_and_settled(world: World) -> None:
    """A message is handled, recorded as done, and told to the live feed."""
    seen: list[Any] = []

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        seen.append((event, ctx.attempt, ctx.workspace, ctx.correlation))

    runtime = await world.run(notify)
    await world.publish(booked("r1", id="e1"))
    await world.until_settled("notify", "done")
    await world.until_empty("reactor.notify")
    assert seen == [({"ride_id": "r1"}, 1, WORKSPACE, "story-r1")]
    (row,) = await world.rows(reactions)
    assert (row["event_id"], row["type"], row["attempts"]) == ("e1", BOOKED, 1)
    assert row["finished_at"] >= row["received_at"]
    await runtime.stop()
    ((_, entry),) = await world.live.read(f"ws/{WORKSPACE}", None)
    told = orjson.loads(entry)
    assert (told["kind"], told["reactor"], told["status"]) == ("reaction", "notify", "done")
    assert (told["event_id"], told["correlation"]) == ("e1", "story-r1")


async def test_duplicates_are_acked_not_handled(world: World) -> None:
    """The same message published again changes nothing and leaves the queue."""
    seen: list[str] = []

    @reacts_to(BOOKED)
    async def notify(event: Event) -> None:
        seen.append(event.id)

    await world.run(notify)
    twice = booked(id="e1")
    await world.publish(twice, twice, booked(id="e2"))
    await world.until_settled("notify", "done", "done")
    await world.publish(twice)
    await world.until_empty("reactor.notify")
    assert sorted(seen) == ["e1", "e2"]


async def test_one_that_fails_harms_no_other(world: World) -> None:
    """Each reactor has its own queue: one fails, one hangs, the third goes on."""
    release = asyncio.Event()

    @reacts_to(BOOKED, retry=Retry.once())
    async def failing(event: dict[str, Any]) -> None:
        raise ValueError("no")

    @reacts_to(BOOKED, concurrency=1)
    async def slow(event: dict[str, Any]) -> None:
        await release.wait()

    @reacts_to(BOOKED)
    async def quick(event: dict[str, Any]) -> None:
        return None

    await world.run(failing, slow, quick)
    await world.publish(*[booked(f"r{n}") for n in range(5)])
    await world.until_settled("quick", *["done"] * 5)
    await world.until_settled("failing", *["dead"] * 5)
    assert await world.statuses("slow") == ["claimed"]
    release.set()
    await world.until_settled("slow", *["done"] * 5)


async def test_a_failed_attempt_is_retried(world: World) -> None:
    """Attempts count up, the idempotency key stays, and success after failures is done."""
    seen: list[tuple[int, str]] = []

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        seen.append((ctx.attempt, ctx.key))
        if ctx.attempt < 3:
            raise OSError("mail server away")

    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "done")
    await world.until_empty("reactor.notify")
    assert [attempt for attempt, _ in seen] == [1, 2, 3]
    assert len({key for _, key in seen}) == 1
    (row,) = await world.rows(reactions)
    assert row["attempts"] == 3
    assert decoded(row["error"])["message"] == "mail server away"
    assert await world.rows(dead_letters) == []


async def test_exhausted_attempts_make_a_dead_letter(world: World) -> None:
    """After the last attempt the message is kept whole, with the reason and a group."""

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any]) -> None:
        raise OSError(f"no route to 10.0.0.{event['ride_id'][1:]}")

    await world.run(notify)
    await world.publish(booked("r17", id="e17"), booked("r18", id="e18"))
    await world.until_settled("notify", "dead", "dead")
    await world.until_empty("reactor.notify")
    letters = {row["event_id"]: row for row in await world.rows(dead_letters)}
    letter = letters["e17"]
    assert letter["attempts"] == 3
    assert (letter["workspace"], letter["correlation"]) == (WORKSPACE, "story-r17")
    assert (letter["error_type"], letter["error_message"]) == ("OSError", "no route to 10.0.0.17")
    assert "raise OSError" in letter["traceback"]
    assert orjson.loads(bytes(letter["body"])) == {"ride_id": "r17"}
    assert decoded(letter["headers"])["cloudEvents:id"] == "e17"
    assert letter["group_key"] == letters["e18"]["group_key"] == "notify: OSError: no route to #.#.#.#"


async def test_terminal_is_dead_at_once(world: World) -> None:
    """What can't help is not tried again."""
    seen: list[int] = []

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        seen.append(ctx.attempt)
        raise Terminal("no such rider", code="unknown_rider")

    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "dead")
    assert seen == [1]
    (row,) = await world.rows(reactions)
    assert decoded(row["error"])["code"] == "unknown_rider"


async def test_retry_after_is_honoured(world: World) -> None:
    """The other side's word on when to come back counts more than the policy."""

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any]) -> None:
        raise Retryable("slow down", retry_after=300.0)

    await world.run(notify, rng=lambda: 0.5)
    await world.publish(booked())
    await world.until_settled("notify", "retrying")
    (row,) = await world.rows(reactions)
    assert row["retry_at"] - row["started_at"] >= 300.0


def sent_straight(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Outgoing]:
    """What is put straight on a queue from now on, once it is confirmed."""
    sent: list[Outgoing] = []
    publish = world.bus.publish

    async def noting(*outgoing: Outgoing, timeout: float | None = None) -> None:
        await publish(*outgoing, timeout=timeout)
        sent.extend(out for out in outgoing if out.exchange == DIRECT)

    monkeypatch.setattr(world.bus, "publish", noting)
    return sent


@pytest.mark.parametrize("after", [40 * 24 * 3600.0, float("inf")])
async def test_retry_after_is_no_longer_than_a_message_can_wait(
    world: World, monkeypatch: pytest.MonkeyPatch, after: float
) -> None:
    """Tried again when the message is back, not only when what was asked for is over."""

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any]) -> None:
        raise Retryable("next season", retry_after=after)

    sent = sent_straight(world, monkeypatch)
    await world.run(notify)
    await world.publish(booked())
    await until(lambda: there(sent), lambda: "the retry to be sent")
    (row,) = await world.rows(reactions)
    assert row["status"] == "retrying"
    assert row["retry_at"] - row["started_at"] == pytest.approx(LONGEST_DELAY, abs=LIMIT)
    assert [out.delay for out in sent] == [LONGEST_DELAY]


async def test_a_repeat_waits_no_longer_than_a_message_can(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reaction's next attempt is far away, since a clock was set back; then it is held once more."""

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any]) -> None:
        raise Retryable("slow down", retry_after=300.0)

    sent = sent_straight(world, monkeypatch)
    await world.run(notify)
    await world.publish(booked(id="e1"))
    await until(lambda: there(sent), lambda: "the retry to be sent")
    sent.clear()
    later = reactions.update().values(retry_at=reactions.c.retry_at + 2 * LONGEST_DELAY)
    await world.database.write(lambda conn: conn.execute(later) and None)
    await world.publish(booked(id="e1"))
    await until(lambda: there(sent), lambda: "the repeat to be held")
    assert [out.delay for out in sent] == [LONGEST_DELAY]


async def there(sent: list[Outgoing]) -> bool:
    return bool(sent)


async def test_a_hanging_handler_is_cancelled(world: World) -> None:
    """Its time is up: a failed attempt like any other."""
    cancelled: list[bool] = []

    @reacts_to(BOOKED, retry=Retry.once(), timeout=0.1)
    async def notify(event: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "dead")
    assert cancelled == [True]
    (letter,) = await world.rows(dead_letters)
    assert letter["error_type"] == "TimedOut"


async def test_one_that_ignores_its_cancellation_blocks_nobody(world: World) -> None:
    """It is left behind, and its slot goes to the next message."""
    release = asyncio.Event()

    @reacts_to(BOOKED, retry=Retry.once(), timeout=0.1, concurrency=1)
    async def notify(event: dict[str, Any]) -> None:
        while event["ride_id"] == "stubborn" and not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    await world.run(notify)
    await world.publish(booked("stubborn"), booked("r2"))
    await world.until_settled("notify", "dead", "done")
    release.set()


class Ride(BaseModel):
    """What a handler wants of a booking; more than its contract says."""

    ride_id: str
    fare: float


async def test_a_model_gets_the_parsed_payload(world: World) -> None:
    """And what it can't read is a dead letter that says where, not a retry."""
    seen: list[Ride] = []

    @reacts_to(BOOKED)
    async def notify(ride: Ride, ctx: ReactionContext) -> None:
        seen.append(ride)

    await world.run(notify)
    await world.publish(booked("r1", fare=9.5), booked("r2"))
    await world.until_settled("notify", "done", "dead")
    assert seen == [Ride(ride_id="r1", fare=9.5)]
    (letter,) = await world.rows(dead_letters)
    assert "at /fare" in letter["error_message"]


async def test_no_more_at_once_than_asked(world: World) -> None:
    """``concurrency`` bounds what runs at once, and all of it gets done."""
    running = most = 0

    @reacts_to(BOOKED, concurrency=3)
    async def notify(event: dict[str, Any]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    await world.run(notify)
    await world.publish(*[booked(f"r{n}") for n in range(12)])
    await world.until_settled("notify", *["done"] * 12)
    assert most == 3


async def test_a_copy_that_comes_before_its_retry_is_due_waits(world: World) -> None:
    """A second copy of a message makes no attempt before the next one is due."""
    seen: list[int] = []

    @reacts_to(BOOKED, concurrency=1, retry=Retry(first=300.0, most=300.0))
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        if event["ride_id"] == "r1":
            seen.append(ctx.attempt)
            raise OSError("away")

    await world.run(notify)
    event = booked("r1")
    await world.publish(event)
    await world.until_settled("notify", "retrying")
    await world.publish(event)
    await world.publish(booked("r2"))  # behind the copy, and one at a time
    await world.until_settled("notify", "retrying", "done")
    assert seen == [1]
