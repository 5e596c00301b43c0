"""On PostgreSQL what is usual is one statement: a message that never came before, and one that is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from antiphon.devservices import Postgres
from bus.envelope import message_of
from contracts.envelope import Event
from reactors.claims import Claim, Claimed, Held, Key, Settled
from reactors.inbox import Inbox
from reactors.letter import ATTEMPT_HEADER, Letter
from reactors.settlements import Settlement
from reactors.unclaimed import Done
from store.database import Database
from store.tables import events, reactions
from tests.reactors.world import booked


class Counted:
    """A database that counts statements that stand alone, and transactions."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.statements = self.transactions = 0
        writer: Any = database._writer
        single, transact = writer._single, writer._transact

        async def one(statement: Any, *, writing: bool) -> Any:
            self.statements += 1
            return await single(statement, writing=writing)

        async def many(work: Any) -> Any:
            self.transactions += 1
            return await transact(work)

        writer._single, writer._transact = one, many

    async def rows(self, table: Any) -> list[dict[str, Any]]:
        query = select(table)
        return await self.database.read(lambda c: [dict(row) for row in c.execute(query).mappings()])


@pytest.fixture
async def counted(postgres: Postgres) -> AsyncIterator[Counted]:
    database = await Database.open(postgres.create_database(), migrate=True)
    yield Counted(database)
    await database.close()


def claim(event: Event) -> Claim:
    letter = Letter("notify", "reactor.notify", event, message_of(event))
    return Claim(Key("notify", event.source, event.id), letter)


async def claimed(inbox: Inbox, *claims: Claim) -> list[Any]:
    return await asyncio.gather(*map(inbox.claim, claims))


def done(claim: Claim, verdict: Claimed, **more: Any) -> Settlement:
    return Settlement(claim.key, verdict, claim.letter, "done", **more)


async def test_what_is_new_and_what_is_done_are_a_statement_each(counted: Counted) -> None:
    """With the database's times, the reply, and what was emitted."""
    inbox = Inbox(counted.database, incarnation="one")
    claims = [claim(booked(f"r{n}")) for n in range(20)]
    verdicts = await claimed(inbox, *claims)
    received = {verdict.received_at for verdict in verdicts}
    assert verdicts == [Claimed(1, 1, 0, at) for at in received] * 20
    said = booked("said")
    settlements = [
        done(claim, verdict, reply=str(n), emitted=[(said, n == 0)])
        for n, (claim, verdict) in enumerate(zip(claims, verdicts, strict=True))
    ]
    assert await asyncio.gather(*map(inbox.settle, settlements)) == [True] * 20
    assert (counted.statements, counted.transactions) == (2, 0)
    rows = {row["event_id"]: row for row in await counted.rows(reactions)}
    assert sorted(rows) == sorted(claim.key.event_id for claim in claims)
    for number, each in enumerate(claims):
        row = rows[each.key.event_id]
        assert (row["status"], row["reply"], row["attempts"], row["claimed_by"]) == (
            "done",
            str(number),
            1,
            "one",
        )
        assert {row["received_at"], row["started_at"]} == received
        assert row["finished_at"] >= row["started_at"]
    (event,) = await counted.rows(events)
    assert (event["id"], event["at"]) == (said.id, rows[claims[0].key.event_id]["finished_at"])


async def test_what_began_before_it_is_claimed_is_in_the_same_statement(counted: Counted) -> None:
    """Each with the time of its own beginning."""
    inbox = Inbox(counted.database, incarnation="one")
    early, now = replace(claim(booked("early")), began=2.5), claim(booked("now"))
    first, second = await claimed(inbox, early, now)
    assert second.received_at - first.received_at == 2.5
    assert (counted.statements, counted.transactions) == (1, 0)
    rows = {row["event_id"]: row for row in await counted.rows(reactions)}
    for one, verdict in ((early, first), (now, second)):
        row = rows[one.key.event_id]
        assert row["received_at"] == row["started_at"] == verdict.received_at


async def test_what_was_done_without_a_claim_is_one_statement(counted: Counted) -> None:
    """With times of the database's, as long ago as the handler took, and what was emitted."""
    inbox = Inbox(counted.database, incarnation="one")
    said = booked("said")
    items = [
        Done(claim(booked(f"r{n}")), began=n / 8 + 2, ended=n / 8, emitted=[(said, False)]) for n in range(20)
    ]
    assert await asyncio.gather(*map(inbox.record, items)) == [True] * 20
    assert (counted.statements, counted.transactions) == (1, 0)
    rows = {row["event_id"]: row for row in await counted.rows(reactions)}
    (event,) = await counted.rows(events)
    for item in items:
        row = rows[item.claim.key.event_id]
        assert (row["status"], row["attempts"], row["claimed_by"], row["correlation"]) == (
            "done",
            1,
            "one",
            item.claim.letter.event.correlation,
        )
        assert row["received_at"] == row["started_at"] == event["at"] - item.began
        assert row["finished_at"] == event["at"] - item.ended


async def test_a_repeat_among_what_is_recorded_changes_nothing(counted: Counted) -> None:
    """What is claimed, done, or twice in one commit counts as it stands; its neighbours are recorded."""
    inbox = Inbox(counted.database, incarnation="one")
    held, ended, new = (claim(booked(name)) for name in ("held", "ended", "new"))
    await inbox.claim(held)
    assert await inbox.record(Done(ended, 0.0))
    before = await counted.rows(reactions)
    wrote: list[str] = []

    def done(claim: Claim) -> Done:
        return Done(claim, 0.0, works=[lambda conn: wrote.append(claim.key.event_id)])

    answers = await asyncio.gather(*(inbox.record(done(each)) for each in (held, ended, new, replace(new))))
    assert answers == [False, False, True, False]
    assert wrote == [new.key.event_id]
    after = await counted.rows(reactions)
    assert [row for row in after if row in before] == before
    assert len(after) == len(before) + 1


async def test_a_repeat_among_new_ones_takes_the_long_way_with_them(counted: Counted) -> None:
    """Each gets the verdict that it would get alone."""
    inbox = Inbox(counted.database, incarnation="one")
    ended, lost, new = (claim(booked(name)) for name in ("ended", "lost", "new"))
    verdict, _ = await claimed(inbox, ended, lost)
    assert await inbox.settle(done(ended, verdict, reply='"yes"'))
    answers = await claimed(inbox, ended, new, lost, replace(new))
    assert answers[0] == Settled("done", '"yes"')
    assert isinstance(answers[1], Claimed)
    assert answers[2] == verdict  # its answer was lost: it is this process's still
    assert isinstance(answers[3], Held)
    assert counted.transactions == 1


async def test_what_another_process_took_is_not_settled(counted: Counted) -> None:
    """And what is still held is settled, though both came in one statement that failed."""
    one, two = (Inbox(counted.database, incarnation=name) for name in ("one", "two"))
    kept, taken = claim(booked("kept")), claim(booked("taken"))
    verdicts = await claimed(one, kept, taken)
    await two.claim(taken)  # nobody says that the first lives
    settlements = [done(each, verdict) for each, verdict in zip((kept, taken), verdicts, strict=True)]
    assert await asyncio.gather(*map(one.settle, settlements)) == [True, False]
    assert {row["event_id"]: row["status"] for row in await counted.rows(reactions)} == {
        kept.key.event_id: "done",
        taken.key.event_id: "claimed",
    }


async def test_a_retry_does_not_try_the_statement(counted: Counted) -> None:
    """It came before, so that the statement would fail for everybody who is in it."""
    inbox = Inbox(counted.database, incarnation="one")
    first = claim(booked("r"))
    headers = {**first.letter.message.headers, ATTEMPT_HEADER: 2}
    again = replace(
        first, letter=replace(first.letter, message=replace(first.letter.message, headers=headers))
    )
    await inbox.claim(again)
    assert (counted.statements, counted.transactions) == (0, 1)
