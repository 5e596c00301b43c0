"""What reactors emit, and what they write in the settling commit."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import Connection, text

from bus.port import Outgoing
from contracts.errors import BusUnavailable, PublishFailed
from contracts.retry import Retry
from reactors.context import ReactionContext
from reactors.reactor import reacts_to
from store.tables import dead_letters, events, reactions
from tests.reactors.world import BOOKED, TOLD, WORKSPACE, World, booked, decoded

QUICK = Retry(attempts=4, first=0.05, factor=1.0, most=0.05)


async def test_an_emitted_event_carries_its_story(world: World) -> None:
    """Workspace, correlation and causation go on; it is recorded as published."""

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await ctx.emit(TOLD, {"ride_id": event["ride_id"]}, subject="rider-1")

    told = await world.listen(TOLD)
    await world.run(notify)
    await world.publish(booked("r1", id="e1"))
    event = await told.next()
    assert (event.type, event.data, event.subject) == (TOLD, {"ride_id": "r1"}, "rider-1")
    assert (event.workspace, event.correlation, event.causation) == (WORKSPACE, "story-r1", "e1")
    assert event.source == "/test/reactors/notify"
    await world.until_settled("notify", "done")
    (row,) = await world.rows(events)
    assert (row["id"], row["causation"], row["routed"]) == (event.id, "e1", 1)


async def test_a_repeat_emits_the_same_ids(world: World) -> None:
    """An attempt that published and then could not settle is repeated; its events keep their ids."""

    @reacts_to(BOOKED, retry=QUICK, transactional=True)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await ctx.emit(TOLD, {"ride_id": "one"})
        await ctx.emit(TOLD, {"ride_id": "two"})
        table = "no_such_table" if ctx.attempt == 1 else "reactions"
        ctx.execute(lambda conn: conn.execute(text(f"SELECT count(*) FROM {table}")))

    told = await world.listen(TOLD)
    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "done")
    ids = [(await told.next()).id for _ in range(4)]
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]
    assert {row["id"] for row in await world.rows(events)} == set(ids)


@pytest.mark.parametrize("subject", [uuid.UUID(int=1), 1.5, b"r1", "\ud800"])
async def test_a_subject_that_is_no_text(world: World, subject: Any) -> None:
    """No broker could carry it, at no attempt: a dead letter, and the next event is handled."""

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        fine = event["ride_id"] == "fine"
        await ctx.emit(TOLD, {"ride_id": event["ride_id"]}, subject="rider-1" if fine else subject)

    told = await world.listen(TOLD)
    await world.run(notify)
    await world.publish(booked("r1"), booked("fine"))
    await world.until_settled("notify", "dead", "done")
    (letter,) = await world.rows(dead_letters)
    assert (letter["error_type"], letter["attempts"]) == ("MalformedMessage", 1)
    assert "subject" in letter["error_message"]
    assert (await told.next()).data == {"ride_id": "fine"}


async def test_what_the_bus_could_never_carry(world: World) -> None:
    """Nobody hears of it, and trying again does not help: a dead letter."""
    long = f"{'a' * 260}.told.v1"
    world.registry.add(long, {"type": "object"})

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await ctx.emit(long, {})

    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "dead")
    (letter,) = await world.rows(dead_letters)
    assert (letter["error_type"], letter["attempts"]) == ("ConfigurationError", 1)


async def test_nothing_is_emitted_by_a_failed_attempt(world: World) -> None:
    """What a handler emitted before it raised never left."""

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await ctx.emit(TOLD, {"ride_id": f"attempt-{ctx.attempt}"})
        if ctx.attempt < 3:
            raise OSError("away")

    told = await world.listen(TOLD)
    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "done")
    assert (await told.next()).data == {"ride_id": "attempt-3"}


async def test_an_event_nobody_listens_to(world: World) -> None:
    """Choreography does not know its audience: the reaction is done, and the record says so."""

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await ctx.emit(TOLD, {"ride_id": "r1"})

    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "done")
    (row,) = await world.rows(events)
    assert row["routed"] == 0


async def test_off_contract_events_do_not_get_out(world: World) -> None:
    """Emitting what does not fit is the handler's bug: a dead letter at once, and nothing published."""

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await ctx.emit(TOLD, {"ride_id": 7})

    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "dead")
    (letter,) = await world.rows(dead_letters)
    assert letter["error_type"] == "ContractViolation"
    assert letter["attempts"] == 1
    assert await world.rows(events) == []


async def test_a_bus_that_is_away_while_emitting(world: World) -> None:
    """The attempt is retried once the bus is back; nothing is settled without the confirm."""
    away = iter([True, True, False])

    class Flaky:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.bus, name)

        async def publish(self, *outgoing: Outgoing, timeout: float | None = None) -> None:
            if next(away, False):
                raise PublishFailed({0: BusUnavailable("no confirm")})
            await world.bus.publish(*outgoing, timeout=timeout)

    @reacts_to(BOOKED, retry=QUICK)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await ctx.emit(TOLD, {"ride_id": "r1"})

    told = await world.listen(TOLD)
    await world.run(notify, bus=Flaky())
    await world.publish(booked())
    await world.until_settled("notify", "done")
    assert (await told.next()).data == {"ride_id": "r1"}
    (row,) = await world.rows(reactions)
    assert row["attempts"] == 2
    assert decoded(row["error"])["type"] == "BusUnavailable"


def add_row(ride: str) -> Any:
    def work(conn: Connection) -> None:
        conn.execute(text("INSERT INTO receipts (ride) VALUES (:ride)"), {"ride": ride})

    return work


@pytest.fixture
async def receipts(world: World) -> World:
    """A world with a table of the handler's own, which takes each ride once."""
    await world.database.write(
        lambda conn: conn.execute(text("CREATE TABLE receipts (ride VARCHAR(20) PRIMARY KEY)"))
    )
    return world


async def rides(world: World) -> list[str]:
    query = text("SELECT ride FROM receipts ORDER BY ride")
    return await world.database.read(lambda conn: [row.ride for row in conn.execute(query)])


async def test_the_handlers_own_sql_joins_the_settling_commit(receipts: World) -> None:
    """What is written and that it is done stand or fall together."""

    @reacts_to(BOOKED, transactional=True)
    async def receipt(event: dict[str, Any], ctx: ReactionContext) -> None:
        ctx.execute(add_row(event["ride_id"]))

    await receipts.run(receipt)
    await receipts.publish(*[booked(f"r{n}") for n in range(5)])
    await receipts.until_settled("receipt", *["done"] * 5)
    assert await rides(receipts) == ["r0", "r1", "r2", "r3", "r4"]


async def test_a_failing_write_settles_nothing(receipts: World) -> None:
    """Neither its own reaction nor half of what it wrote is kept; its neighbours are."""

    @reacts_to(BOOKED, transactional=True, retry=Retry.once())
    async def receipt(event: dict[str, Any], ctx: ReactionContext) -> None:
        ctx.execute(add_row(event["ride_id"] + "-half"))
        if event["ride_id"] == "bad":
            ctx.execute(add_row("bad-half"))  # the key is taken: the whole commit fails

    await receipts.run(receipt)
    await receipts.publish(booked("r1"), booked("bad"), booked("r2"))
    await receipts.until_settled("receipt", "dead", "done", "done")
    assert await rides(receipts) == ["r1-half", "r2-half"]
    (letter,) = await receipts.rows(dead_letters)
    assert letter["error_type"] == "IntegrityError"


async def test_execute_wants_to_be_declared(world: World) -> None:
    """Without ``transactional=True`` it says what to write, instead of losing the guarantee silently."""

    @reacts_to(BOOKED)
    async def receipt(event: dict[str, Any], ctx: ReactionContext) -> None:
        ctx.execute(lambda conn: None)

    await world.run(receipt)
    await world.publish(booked())
    await world.until_settled("receipt", "dead")
    (letter,) = await world.rows(dead_letters)
    assert "transactional=True" in letter["error_message"]
