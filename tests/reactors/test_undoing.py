"""A step that comes after its compensation is refused: what undoes a command bars it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert

from bus.envelope import message_of
from contracts.envelope import Event
from contracts.errors import Retryable
from reactors.claims import Claim, Claimed, Held, Key, Settled, Undone
from reactors.failure import Failure
from reactors.inbox import Inbox
from reactors.letter import Letter
from reactors.reply import Reply
from reactors.service import CommandContext, Service
from reactors.settlements import Settlement
from store.tables import processes, quarantine, reactions
from tests.reactors.world import AUTHORIZE, WORKSPACE, World, authorize

VOID = "payments.void.v1"
SERVICE = "service.payments"


def void(id: str = "c1:c", *, undoes: str | None = "c1", attempt: int = 1) -> Event:
    """The command that undoes ``authorize()``, as the orchestrator sends it."""
    extensions = {
        "runid": "run-1", "node": "authorize_payment", "attempt": str(attempt), "replyto": "p7",
    }  # fmt: skip
    if undoes is not None:
        extensions |= {"undoes": undoes, "undoestype": AUTHORIZE}
    return Event.create(
        VOID,
        {"amount": 12.5},
        id=id,
        source=f"/{WORKSPACE}/flows/ride",
        at=1_700_000_000.0,
        workspace=WORKSPACE,
        correlation="story-1",
        extensions=extensions,
    )


class Bank:
    """A payments service that says what it did; ``authorize`` does what it is told."""

    def __init__(self, world: World) -> None:
        world.registry.add(VOID, {"type": "object"})
        self.did: list[str] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.trouble: Exception | None = None
        self.service = Service("payments")

        @self.service.handles(AUTHORIZE)
        async def hold(command: dict[str, Any], ctx: CommandContext) -> dict[str, Any]:
            self.begun.set()
            await self.go_on.wait()
            self.did.append("authorize")
            if self.trouble is not None:
                raise self.trouble
            return {"hold": "h"}

        @self.service.handles(VOID)
        async def let_go(command: dict[str, Any], ctx: CommandContext) -> dict[str, Any]:
            self.did.append("void")
            return {"void": True}


@pytest.fixture
def bank(world: World) -> Bank:
    return Bank(world)


async def test_a_late_command_is_refused_after_what_undid_it(world: World, bank: Bank) -> None:
    """The compensation came first: the step is answered with a definite no, however often it comes."""
    replies = await world.listen_for_replies()
    await world.run(services=[bank.service])
    await world.command(void(), "payments")
    assert (await replies.next_reply())["result"] == {"void": True}
    for attempt in (1, 2):
        await world.command(authorize("c1", attempt=attempt), "payments")
        reply = await replies.next()
        assert reply.data["outcome"] == "refused"
        assert reply.data["error"]["code"] == "undone"
        assert VOID in reply.data["error"]["message"]
        assert reply.extensions["attempt"] == str(attempt)
    assert bank.did == ["void"]
    rows = {row["event_id"]: row for row in await world.rows(reactions)}
    assert (rows["c1"]["status"], rows["c1"]["type"], rows["c1"]["attempts"]) == ("done", AUTHORIZE, 0)
    # Another command of the run, and the same id from somebody else, are none of its business.
    await world.command(authorize("c2"), "payments")
    assert (await replies.next_reply())["outcome"] == "done"


async def test_what_was_done_stays_done_and_is_undone(world: World, bank: Bank) -> None:
    """In order, nothing changes: the step's answer is kept as it was."""
    replies = await world.listen_for_replies()
    await world.run(services=[bank.service])
    for command in (authorize("c1"), void(), authorize("c1", attempt=2), void(attempt=2)):
        await world.command(command, "payments")
        assert (await replies.next_reply())["outcome"] == "done"
    assert bank.did == ["authorize", "void"]


async def test_what_is_at_work_is_undone_when_it_has_ended(world: World, bank: Bank) -> None:
    """Undoing beside the work could find nothing to undo, and the work would stand."""
    bank.go_on.clear()
    replies = await world.listen_for_replies()
    await world.run(services=[bank.service])
    await world.command(authorize("c1"), "payments")
    await bank.begun.wait()
    await world.command(void(), "payments")
    (held,) = [row for row in await world.until_rows(reactions, 2) if row["event_id"] == "c1:c"]
    assert held["status"] in ("claimed", "retrying")
    bank.go_on.set()
    assert [(await replies.next()).causation for _ in range(2)] == ["c1", "c1:c"]
    assert bank.did == ["authorize", "void"]
    rows = {row["event_id"]: row for row in await world.rows(reactions)}
    assert (rows["c1:c"]["status"], rows["c1:c"]["attempts"]) == ("done", 1)


async def test_a_failed_attempt_is_not_tried_again_after_it_was_undone(world: World, bank: Bank) -> None:
    """Its retry would be a late command, too."""
    bank.trouble = Retryable("the bank is busy")
    replies = await world.listen_for_replies()
    await world.run(services=[bank.service])
    outcomes = []
    for command in (authorize("c1"), void(), authorize("c1", attempt=2)):
        await world.command(command, "payments")
        outcomes.append((await replies.next_reply())["outcome"])
    assert outcomes == ["failed", "done", "refused"]
    assert bank.did == ["authorize", "void"]


async def test_what_waited_for_work_that_then_failed_is_done(world: World, bank: Bank) -> None:
    """It bars the work and takes its own turn in one commit; a simulation found that it never came to it."""
    bank.go_on.clear()
    bank.trouble = Retryable("the line broke")
    replies = await world.listen_for_replies()
    await world.run(services=[bank.service])
    await world.command(authorize("c1"), "payments")
    await bank.begun.wait()
    await world.command(void(), "payments")
    await world.until_rows(reactions, 2)
    bank.go_on.set()
    outcomes = [await replies.next() for _ in range(2)]
    assert [(each.causation, each.data["outcome"]) for each in outcomes] == [
        ("c1", "failed"),
        ("c1:c", "done"),
    ]
    assert bank.did == ["authorize", "void"]


@pytest.mark.parametrize("undoes", ["", "x" * 513, "a\nb", "c1:c"])
async def test_what_names_nothing_to_undo_is_quarantined(world: World, bank: Bank, undoes: str) -> None:
    """The attribute comes from outside: what can't be a key is refused, and answered."""
    replies = await world.listen_for_replies()
    await world.run(services=[bank.service])
    await world.command(void(undoes=undoes), "payments")
    if undoes == "a\nb":
        await world.until_rows(quarantine, 1)
    else:
        assert (await replies.next_reply())["outcome"] == "refused"
    assert bank.did == []
    assert await world.rows(reactions) == []


def asked(id: str, *, redrive: int = 0, undoes: str | None = None) -> Claim:
    """A claim of a command; ``undoes`` is another one's id."""
    event = authorize(id)
    undone = None if undoes is None else Undone(Key(SERVICE, event.source, undoes), AUTHORIZE)
    letter = Letter(SERVICE, SERVICE, event, message_of(event))
    return Claim(Key(SERVICE, event.source, id), letter, redrive, undoes=undone)


async def alive_until(world: World, incarnation: str, until: float) -> None:
    """Say until when a process is known to live."""
    row = {"id": incarnation, "role": "service", "name": "n", "started_at": 0.0, "alive_until": until}

    def write(conn: Connection) -> None:
        conn.execute(delete(processes).where(processes.c.id == incarnation))
        conn.execute(insert(processes).values(row))

    await world.database.write(write)


async def once_claimed(inbox: Inbox, claim: Claim) -> Claimed:
    """Ask until it is given."""
    async with asyncio.timeout(10):
        while not isinstance(verdict := await inbox.claim(claim), Claimed):
            await asyncio.sleep(0.1)
    return verdict


async def test_what_a_dead_process_had_begun_is_barred(world: World) -> None:
    """While the process lives, what undoes it waits, in one batch or not; its late end changes nothing."""
    step, back = asked("c1"), asked("c1:c", undoes="c1")
    one, other = (Inbox(world.database, incarnation=name) for name in ("one", "other"))
    await alive_until(world, "one", 1e12)
    begun, held = await asyncio.gather(one.claim(step), one.claim(back))
    assert isinstance(begun, Claimed)
    assert isinstance(held, Held)
    assert isinstance(await other.claim(back), Held)
    await alive_until(world, "one", 0.0)
    assert (await once_claimed(other, back)).attempts == 1
    assert not await one.settle(Settlement(step.key, begun, step.letter, "done", reply="late"))
    settled = await one.claim(step)
    assert isinstance(settled, Settled)
    assert settled.reply is not None
    assert Reply.from_text(settled.reply).error == {
        "code": "undone", "message": f"it was undone by {AUTHORIZE} (c1:c) before it was done",
    }  # fmt: skip


async def test_a_redrive_does_not_bring_back_what_was_undone(world: World) -> None:
    """A command that is a dead letter is barred like one that is late."""
    inbox = Inbox(world.database, incarnation="one")
    step = asked("c1")
    claimed = await once_claimed(inbox, step)
    failure = Failure.crashed(5)
    assert await inbox.settle(Settlement(step.key, claimed, step.letter, "dead", failure=failure))
    await once_claimed(inbox, asked("c1:c", undoes="c1"))
    assert isinstance(await inbox.claim(asked("c1", redrive=1)), Settled)
