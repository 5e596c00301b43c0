"""The bus or the store goes away and comes back; the runtime goes on by itself, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from antiphon.devservices import Postgres, Rabbit
from contracts.errors import LiveUnavailable, StoreUnavailable, Terminal
from contracts.retry import Retry
from reactors.context import ReactionContext
from reactors.inbox import Inbox
from reactors.quarantine import Quarantine
from reactors.reactor import reacts_to
from store.tables import quarantine, reactions
from tests.reactors.world import BOOKED, TOLD, World, booked, until

MESSAGES = 60


def failing_at_first(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, times: int = 2) -> list[float]:
    """The store does not answer the first calls of a method; when that was, in seconds since the epoch."""
    real = getattr(owner, name)
    failed: list[float] = []

    async def method(self: Any, *args: Any, **more: Any) -> Any:
        if len(failed) < times:
            failed.append(time.time())
            raise StoreUnavailable("no answer")
        return await real(self, *args, **more)

    monkeypatch.setattr(owner, name, method)
    return failed


@pytest.mark.parametrize("call", ["claim", "settle"])
async def test_a_store_that_is_away(world: World, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """The message stays in hand until the store answers: handled once, no attempt lost."""
    failing_at_first(monkeypatch, Inbox, call)
    seen: list[str] = []

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any]) -> None:
        seen.append(event["ride_id"])

    await world.run(notify)
    await world.publish(booked("r1"))
    await world.until_settled("notify", "done")
    await world.until_empty("reactor.notify")
    assert seen == ["r1"]
    (row,) = await world.rows(reactions)
    assert (row["attempts"], row["crashes"]) == (1, 0)


@pytest.mark.parametrize("call", ["record", "claim"])
async def test_what_an_idempotent_handler_did_meanwhile_has_its_own_time(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """However late the store hears of it: of one that went well, and of one that is claimed as it failed."""
    failed = failing_at_first(monkeypatch, Inbox, call, times=4)

    @reacts_to(BOOKED, idempotent=True)
    async def notify(event: dict[str, Any]) -> None:
        if call == "claim":
            raise Terminal("never")

    await world.run(notify)
    await world.publish(booked("r1"))
    await world.until_settled("notify", "done" if call == "record" else "dead")
    (row,) = await world.rows(reactions)
    assert row["received_at"] == row["started_at"] < failed[-1]
    assert (row["finished_at"] < failed[-1]) is (call == "record")


async def test_a_store_that_is_away_for_the_quarantine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be quarantined is not acked before it is."""
    failing_at_first(monkeypatch, Quarantine, "put")

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any]) -> None:
        return None

    await world.run(notify)
    await world.put("reactor.notify", b"garbage")
    assert len(await world.until_rows(quarantine, 1)) == 1
    await world.until_empty("reactor.notify")


async def test_a_live_store_that_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reaction fails for want of an audience."""

    async def append(feed: str, *entries: bytes, keep: int = 0) -> list[str]:
        raise LiveUnavailable("no answer")

    monkeypatch.setattr(world.live, "append", append)

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any]) -> None:
        return None

    await world.run(notify)
    await world.publish(booked("r1"), booked("r2"))
    await world.until_settled("notify", "done", "done")


async def ride_through(world: World, outage: Any) -> Counter[str]:
    """Handle messages that fail once and emit, with an outage in the middle; how often each was done."""
    seen: Counter[str] = Counter()

    @reacts_to(BOOKED, concurrency=10, retry=Retry(attempts=None, first=0.1, most=0.5))
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await asyncio.sleep(0.02)
        if ctx.attempt == 1:
            raise OSError("the first attempt always fails")
        seen[event["ride_id"]] += 1
        await ctx.emit(TOLD, {"ride_id": event["ride_id"]})

    @reacts_to(TOLD)
    async def archive(event: dict[str, Any]) -> None:
        return None

    await world.run(notify, archive)
    await world.publish(*[booked(f"r{n}") for n in range(MESSAGES)])

    async def half_way() -> bool:
        return len(seen) > 5

    await until(half_way, lambda: "the first messages to be done")
    await asyncio.to_thread(outage)
    await world.until_settled("notify", *["done"] * MESSAGES)
    await world.until_settled("archive", *["done"] * MESSAGES)
    return seen


@pytest.fixture
async def real_world(rabbit: Rabbit, postgres: Postgres) -> Any:
    """A world on real services alone: only those can be restarted."""
    with rabbit.vhost() as url:
        world = World(url, postgres.create_database())
        await world.open()
        yield world
        await world.close()


async def test_postgres_restarts(real_world: World, postgres: Postgres) -> None:
    """Every message is done, and every event that it emitted arrived."""
    seen = await ride_through(real_world, postgres.restart)
    assert len(seen) == MESSAGES


async def test_rabbitmq_restarts(real_world: World, rabbit: Rabbit) -> None:
    """Every message is done, retries that were waiting too, and every event that it emitted arrived."""
    seen = await ride_through(real_world, rabbit.restart)
    assert len(seen) == MESSAGES
