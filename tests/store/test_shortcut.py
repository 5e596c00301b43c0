"""Groups that are one statement on PostgreSQL: as good as the transaction they stand for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, select, text, update

from antiphon.devservices import Postgres
from contracts.errors import StoreUnavailable
from store.bulk import Together, answers_of, ask_together, insert_rows
from store.connect import open_engine
from store.database import Database
from store.shortcut import Shortcut, Single
from store.tables import marks, partitions, timers

Item = tuple[int, int, str]  # partition, epoch, id


class Ledger:
    """Marks each item under its partition's epoch, and counts how often the long way was taken."""

    def __init__(self, database: Database) -> None:
        self.long_ways = 0
        self.group = database.group(
            self.apply, Shortcut(self.at_once, lambda items, _: ["short"] * len(items))
        )

    def apply(self, connection: Connection, items: list[Item]) -> list[str]:
        self.long_ways += 1
        return ["long"] * len(items)

    def at_once(self, items: list[Item]) -> Single | None:
        if any(id == "odd" for _, _, id in items):
            return None
        together = Together("postgresql")
        together.insert(marks, [{"run_id": str(number), "message_id": id} for number, _, id in items])
        return together.single(partitions, items, same=("epoch",), mark="last_commit")


@pytest.fixture
async def opened(postgres: Postgres) -> AsyncIterator[Database]:
    database = await Database.open(postgres.create_database(), migrate=True)
    await database.write(lambda c: insert_rows(c, partitions, [{"id": n, "epoch": 7} for n in range(4)]))
    yield database
    await database.close()


async def marked(database: Database) -> list[str]:
    query = select(marks.c.message_id).order_by(marks.c.message_id)
    return await database.read(lambda c: list(c.execute(query).scalars()))


async def test_what_is_as_expected_is_one_statement(opened: Database) -> None:
    """All items of a group are written, and their rows are marked, without the long way."""
    ledger = Ledger(opened)
    answers = await asyncio.gather(*(ledger.group.submit((n, 7, f"m{n}")) for n in range(4)))
    assert set(answers) == {"short"}
    assert ledger.long_ways == 0
    assert await marked(opened) == ["m0", "m1", "m2", "m3"]
    rows = await opened.read(
        lambda c: dict(c.execute(select(partitions.c.id, partitions.c.last_commit)).all())
    )
    assert rows == {n: f"m{n}" for n in range(4)}


@pytest.mark.parametrize("bad", [(1, 6, "m1"), (9, 7, "m1")], ids=["another epoch", "no such row"])
async def test_one_that_is_not_as_expected_keeps_all_from_happening(opened: Database, bad: Item) -> None:
    """Then nothing is written by the statement, and the work itself decides."""
    ledger = Ledger(opened)
    answers = await asyncio.gather(*map(ledger.group.submit, [(0, 7, "m0"), bad]))
    # The first may have gone by itself, before the second was there.
    assert answers[1] == "long"
    assert ledger.long_ways
    assert "m1" not in await marked(opened)


async def test_a_repeat_is_left_to_the_work(opened: Database) -> None:
    """A commit that is there already is not applied twice; so is one that the shortcut does not take."""
    ledger = Ledger(opened)
    assert await ledger.group.submit((0, 7, "m0")) == "short"
    assert await ledger.group.submit((0, 7, "m0")) == "long"
    assert await ledger.group.submit((0, 7, "odd")) == "long"
    assert await marked(opened) == ["m0"]


async def test_it_waits_for_whoever_changes_the_epoch(opened: Database, postgres: Postgres) -> None:
    """A statement that began before an epoch grew, and had to wait for that, sees the new epoch."""
    ledger = Ledger(opened)
    url = await opened.read(lambda c: c.engine.url.render_as_string(hide_password=False))
    other = await Database.open(url)
    waiting: list[asyncio.Task[str]] = []

    def take(connection: Connection) -> None:
        connection.execute(update(partitions).where(partitions.c.id == 0).values(epoch=8))
        taken.set()
        connection.execute(text("SELECT pg_sleep(0.5)"))

    taken = asyncio.Event()
    taking = asyncio.create_task(other.write(take))
    await taken.wait()
    waiting.append(asyncio.create_task(ledger.group.submit((0, 7, "late"))))
    await taking
    assert await waiting[0] == "long"
    assert await marked(opened) == []
    await other.close()


async def test_with_two_writers_one_that_must_wait_holds_up_no_other(postgres: Postgres) -> None:
    """While a statement waits for a row that another process has, the next one is written beside it."""
    url = postgres.create_database()
    database, other = await Database.open(url, writers=2, migrate=True), await Database.open(url)
    await database.write(lambda c: insert_rows(c, partitions, [{"id": n, "epoch": 7} for n in range(2)]))
    ledger = Ledger(database)
    loop = asyncio.get_running_loop()
    taken, done = asyncio.Event(), threading.Event()

    def take(connection: Connection) -> None:
        connection.execute(update(partitions).where(partitions.c.id == 0).values(owner="other"))
        loop.call_soon_threadsafe(taken.set)
        while not done.is_set():
            connection.execute(text("SELECT pg_sleep(0.02)"))

    taking = asyncio.create_task(other.write(take))
    await taken.wait()
    held = asyncio.create_task(ledger.group.submit((0, 7, "held")))
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    while not await database.read(lambda c: c.execute(blocked).scalar_one()):
        await asyncio.sleep(0.01)
    free = await ledger.group.submit((1, 7, "free"))
    waited = not held.done()
    done.set()
    await taking
    assert (free, waited, await held) == ("short", True, "short")
    assert await marked(database) == ["free", "held"]
    await other.close()
    await database.close()


async def test_a_group_in_company_is_a_statement_of_its_own(opened: Database) -> None:
    """What comes at the same moment and has no shortcut shares a transaction beside it."""
    ledger = Ledger(opened)
    writing = [opened.write(lambda c, n=n: insert_rows(c, timers, [_timer(n)])) for n in range(3)]
    *_, answer = await asyncio.gather(*writing, ledger.group.submit((0, 7, "m0")))
    assert (answer, await marked(opened)) == ("short", ["m0"])
    assert len(await opened.read(lambda c: list(c.execute(select(timers))))) == 3


async def test_what_fails_in_company_fails_alone(opened: Database) -> None:
    """A shortcut that fails takes the long way, an error is its writer's, and neither undoes the others."""

    def wrong(_: Connection) -> None:
        raise LookupError("not there")

    ledger = Ledger(opened)
    good = opened.write(lambda c: insert_rows(c, timers, [_timer(0)]))
    answers = await asyncio.gather(
        good, opened.write(wrong), ledger.group.submit((0, 6, "old")), return_exceptions=True
    )
    assert isinstance(answers[1], LookupError)
    assert answers[2] == "long"
    assert len(await opened.read(lambda c: list(c.execute(select(timers))))) == 1


async def test_rows_are_found_by_their_keys_however_young_a_table_is(opened: Database) -> None:
    """A planner that knows no sizes yet would read all of it for every commit."""
    statement = Single("SELECT current_setting('enable_seqscan')", ())
    engine = opened._engine
    assert engine.single is not None
    for writing in (True, False):
        rows = await engine.single(statement, writing=writing)
        assert rows is not None
        assert rows[0][0] == "off"
    setting = text(statement.text)
    assert await opened.read(lambda c: c.execute(setting).scalar_one()) == "on"  # others may have to
    assert await opened.write(lambda c: c.execute(setting).scalar_one()) == "on"


async def test_a_lost_connection_is_said_and_replaced(opened: Database, postgres: Postgres) -> None:
    """A statement under way when its connection is cut ends in StoreUnavailable; the next one is fine."""
    ledger = Ledger(opened)
    assert await ledger.group.submit((0, 7, "before")) == "short"
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
    cut = others + "pid <> pg_backend_pid()"
    await opened.write(lambda c: c.execute(text(cut)).all())
    outcomes: list[str] = []
    for number in range(3):
        try:
            outcomes.append(await ledger.group.submit((1, 7, f"after{number}")))
        except StoreUnavailable:
            outcomes.append("lost")
    assert outcomes[-1] == "short"
    assert outcomes.count("lost") <= 1
    assert "before" in await marked(opened)


async def test_several_questions_are_one_query(opened: Database) -> None:
    """Each question's rows come back by themselves, with numbers and texts as they are."""
    await opened.write(lambda c: insert_rows(c, timers, [_timer(n) for n in range(3)]))
    await opened.write(lambda c: insert_rows(c, marks, [{"run_id": "r", "message_id": "é\n\"'"}]))

    def ask(items: list[str]) -> Single:
        keys = [(item,) for item in items]
        return ask_together(
            (timers, ("run_id",), keys), (marks, ("run_id", "message_id"), []), (marks, ("run_id",), [("r",)])
        )

    def read(items: list[str], rows: Sequence[Any]) -> list[Any]:
        return [answers_of(3, rows)] * len(items)

    group = opened.group_read(lambda _, items: [None] * len(items), Shortcut(ask, read))
    found, nothing, other = await group.submit("run1")
    assert found == [{**_timer(1), "due_at": 0.1 + 1}]
    assert nothing == []
    assert other == [{"run_id": "r", "message_id": "é\n\"'"}]


async def test_a_single_statement_that_fails_changes_nothing(postgres: Postgres) -> None:
    """None for a statement that the database refuses, for readers and writers."""
    engine: Any = await open_engine(postgres.create_database())
    assert await engine.single(Single("SELECT 1 / $1::int", (0,)), writing=True) is None
    assert await engine.single(Single("SELECT no_such_thing", ()), writing=False) is None
    assert [tuple(row) for row in await engine.single(Single("SELECT $1::int", (3,)), writing=False)] == [
        (3,)
    ]
    await engine.close()


def _timer(number: int) -> dict[str, Any]:
    return {"run_id": f"run{number}", "name": "t", "partition": number, "due_at": 0.1 + number}
