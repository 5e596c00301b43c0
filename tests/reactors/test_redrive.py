"""What an operator can do with dead letters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bus.envelope import message_of
from bus.port import DIRECT, EVENTS, Message, Outgoing
from contracts.envelope import Event
from contracts.errors import ContractViolation, LetterNotFound, LetterSettled, Terminal
from contracts.retry import Retry
from reactors.context import ReactionContext
from reactors.dead_letters import DeadLetters
from reactors.letter import REDRIVE_HEADER
from reactors.reactor import reacts_to
from store.audit import first_broken
from store.tables import audit, dead_letters, reactions
from tests.reactors.world import BOOKED, WORKSPACE, World, booked, decoded

BY = {"actor": "ada", "reason": "the mail server is back"}


class Mood:
    """Whether the reactor fails now, and what it has seen."""

    def __init__(self) -> None:
        self.fails = True
        self.seen: list[tuple[str, int, Any]] = []
        self.keys: set[str] = set()


async def some_dead(world: World, *events: Event) -> tuple[DeadLetters, Mood]:
    """Each event handled to its death by ``notify``, and by ``other`` with success."""
    mood = Mood()

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        mood.seen.append((event["ride_id"], ctx.attempt, event.get("fare")))
        mood.keys.add(ctx.key)
        if mood.fails:
            raise Terminal(f"no mail for {len(mood.seen)}", code="mail")

    @reacts_to(BOOKED)
    async def other(event: dict[str, Any]) -> None:
        return None

    await world.run(notify, other)
    await world.publish(*events)
    await world.until_settled("notify", *["dead"] * len(events))
    await world.until_settled("other", *["done"] * len(events))
    mood.seen.clear()
    return DeadLetters(world.database, world.bus, world.registry), mood


async def test_redrive_one(world: World) -> None:
    """The same message goes to its reactor again, and only there; who sent it is in the audit trail."""
    letters, mood = await some_dead(world, booked("r1"))
    (letter,) = await letters.letters(WORKSPACE)
    mood.fails = False
    await letters.redrive(WORKSPACE, letter.id, **BY)
    await world.until_settled("notify", "done")
    assert mood.seen == [("r1", 1, None)]
    assert len(mood.keys) == 1
    after = await letters.show(WORKSPACE, letter.id)
    assert (after.status, after.settled_by, after.reason) == ("redriven", "ada", BY["reason"])
    assert await letters.letters(WORKSPACE) == []
    (entry,) = await world.rows(audit)
    assert (entry["workspace"], entry["actor"], entry["action"], entry["target"]) == (
        WORKSPACE,
        "ada",
        "redrive",
        letter.id,
    )
    with pytest.raises(LetterSettled, match="ada"):
        await letters.redrive(WORKSPACE, letter.id, **BY)


async def test_one_that_dies_again_has_a_letter_of_its_own(world: World) -> None:
    """The history of what was tried stays; the newest death can be redriven in its turn."""
    letters, mood = await some_dead(world, booked("r1"))
    (first,) = await letters.letters(WORKSPACE)
    await letters.redrive(WORKSPACE, first.id, **BY)
    await world.until_rows(dead_letters, 2)
    (second,) = await letters.letters(WORKSPACE)
    assert second.id != first.id
    assert (await letters.show(WORKSPACE, first.id)).status == "redriven"
    mood.fails = False
    await letters.redrive(WORKSPACE, second.id, **BY)
    await world.until_settled("notify", "done")
    (row,) = await world.rows(reactions, reactor="notify")
    assert row["redrives"] == 2


async def test_redrive_a_group(world: World) -> None:
    """All letters of one kind, in one go and under one entry of the audit trail."""
    letters, mood = await some_dead(world, *[booked(f"r{n}") for n in range(5)])
    (group,) = await letters.groups(WORKSPACE)
    assert (group.reactor, group.count, group.key) == ("notify", 5, "notify: Terminal: no mail for #")
    mood.fails = False
    assert await letters.redrive_group(WORKSPACE, group.key, **BY) == 5
    await world.until_settled("notify", *["done"] * 5)
    assert await letters.groups(WORKSPACE) == []
    (entry,) = await world.rows(audit)
    assert len(decoded(entry["detail"])["letters"]) == 5


async def test_redrive_edited(world: World) -> None:
    """Another payload, if it fits the contract; the letter keeps what came."""
    letters, mood = await some_dead(world, booked("r1", fare=1))
    (letter,) = await letters.letters(WORKSPACE)
    mood.fails = False
    with pytest.raises(ContractViolation):
        await letters.redrive(WORKSPACE, letter.id, **BY, data={"ride_id": 7})
    await letters.redrive(WORKSPACE, letter.id, **BY, data={"ride_id": "r1", "fare": 2})
    await world.until_settled("notify", "done")
    assert mood.seen == [("r1", 1, 2)]
    assert (await letters.show(WORKSPACE, letter.id)).body == letter.body


async def test_discard(world: World) -> None:
    """Given up for good, with who and why; it can't be redriven then."""
    letters, _ = await some_dead(world, booked("r1"))
    (letter,) = await letters.letters(WORKSPACE)
    assert await letters.discard(WORKSPACE, letter.id, **BY) == 1
    assert (await letters.show(WORKSPACE, letter.id)).status == "discarded"
    assert await world.statuses("notify") == ["discarded"]
    with pytest.raises(LetterSettled):
        await letters.redrive(WORKSPACE, letter.id, **BY)
    assert await letters.discard(WORKSPACE, letter.id, **BY) == 0
    assert [row["action"] for row in await world.rows(audit)] == ["discard"]


async def test_nothing_of_another_workspace(world: World) -> None:
    """Another tenant's letters are not there: not listed, shown, redriven or discarded."""
    letters, _ = await some_dead(world, booked("r1"))
    (letter,) = await letters.letters(WORKSPACE)
    (group,) = await letters.groups(WORKSPACE)
    assert await letters.letters("other") == []
    assert await letters.groups("other") == []
    assert await letters.redrive_group("other", group.key, **BY) == 0
    for attempt in (letters.redrive("other", letter.id, **BY), letters.discard("other", letter.id, **BY)):
        with pytest.raises(LetterNotFound):
            await attempt
    assert await world.rows(audit) == []


async def test_a_redrive_does_not_repeat_what_is_done(world: World) -> None:
    """A forged or repeated redrive of a settled reaction is acked and not handled."""
    letters, mood = await some_dead(world, booked("r1", id="e1"))
    mood.fails = False
    (letter,) = await letters.letters(WORKSPACE)
    await letters.redrive(WORKSPACE, letter.id, **BY)
    await world.until_settled("notify", "done")
    event = message_of(booked("r1", id="e1"))
    again = Message(event.id, event.body, headers={**event.headers, REDRIVE_HEADER: 9})
    await world.bus.publish(Outgoing(again, "reactor.notify", DIRECT))
    await world.publish(booked("r2"))
    await world.until_settled("notify", "done", "done")
    await world.until_empty("reactor.notify")
    assert [ride for ride, _, _ in mood.seen] == ["r1", "r2"]


async def test_a_source_can_not_say_that_it_is_redriven(world: World) -> None:
    """Neither at once nor by its retry; and the operator's redrive is the first."""
    letters, mood = await some_dead(world)
    event = message_of(booked("r1"))
    forged = replace(event, headers={**event.headers, REDRIVE_HEADER: 1_000_000})
    await world.bus.publish(Outgoing(forged, BOOKED, EVENTS))
    await world.until_settled("notify", "dead")
    (row,) = await world.rows(reactions, reactor="notify")
    assert row["redrives"] == 0
    mood.seen.clear()
    await world.bus.publish(Outgoing(forged, BOOKED, EVENTS))
    await world.publish(booked("r2"))
    await world.until_settled("notify", "dead", "dead")
    await world.until_empty("reactor.notify")
    assert [ride for ride, _, _ in mood.seen] == ["r2"]
    mood.fails = False
    (letter,) = [each for each in await letters.letters(WORKSPACE) if each.event_id == event.id]
    await letters.redrive(WORKSPACE, letter.id, **BY)
    await world.until_settled("notify", "dead", "done")


async def test_a_retry_does_not_say_it_for_its_source(world: World) -> None:
    """What comes straight on a queue is believed, so what a source had said is not in it any more."""

    @reacts_to(BOOKED, retry=Retry(attempts=2, first=0.05, most=0.05))
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        raise RuntimeError("no mail")

    await world.run(notify)
    event = message_of(booked("r1"))
    forged = replace(event, headers={**event.headers, REDRIVE_HEADER: 7})
    await world.bus.publish(Outgoing(forged, BOOKED, EVENTS))
    await world.until_settled("notify", "dead")
    (row,) = await world.rows(reactions, reactor="notify")
    assert (row["attempts"], row["redrives"]) == (2, 0)
    (letter,) = await world.rows(dead_letters)
    assert REDRIVE_HEADER not in decoded(letter["headers"])


@pytest.mark.parametrize("number", [2**31, 2**63 - 1, "9" * 400, "9" * 5000, -1, "many"])
async def test_a_number_that_is_no_count(world: World, number: int | str) -> None:
    """It is handled as what it may mean, and stops nobody."""
    letters, mood = await some_dead(world)
    mood.fails = False
    event = message_of(booked("r1"))
    told = replace(event, headers={**event.headers, REDRIVE_HEADER: number})
    await world.bus.publish(Outgoing(told, "reactor.notify", DIRECT))
    await world.until_settled("notify", "done")
    assert await letters.letters(WORKSPACE) == []


async def test_the_audit_trail_is_a_chain(world: World) -> None:
    """Every entry follows from the one before; one that was changed breaks it."""
    letters, _ = await some_dead(world, booked("r1"), booked("r2"))
    for letter in await letters.letters(WORKSPACE):
        await letters.discard(WORKSPACE, letter.id, **BY)
    assert await world.database.read(lambda conn: first_broken(conn, WORKSPACE)) is None
    first, _ = await world.rows(audit)
    await world.database.write(
        lambda conn: conn.execute(audit.update().where(audit.c.seq == first["seq"]).values(actor="eve"))
    )
    assert await world.database.read(lambda conn: first_broken(conn, WORKSPACE)) == first["seq"]


async def test_an_event_whose_id_is_too_long_for_a_message(world: World) -> None:
    """CloudEvents bounds no id, AMQP that of a message: it is redriven under another, as the same event."""
    event = booked("r1", id="x" * 300)
    letters, mood = await some_dead(world)
    await world.bus.publish(Outgoing(replace(message_of(event), id="short"), BOOKED, EVENTS))
    await world.until_settled("notify", "dead")
    (letter,) = await letters.letters(WORKSPACE)
    assert letter.event_id == event.id
    mood.fails = False
    await letters.redrive(WORKSPACE, letter.id, **BY)
    await world.until_settled("notify", "done")
