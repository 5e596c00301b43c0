"""The database's promises, held by SQLite in a file, SQLite in memory and PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, func, insert, literal, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from antiphon.devservices import Postgres
from contracts.errors import ConfigurationError, StoreUnavailable
from store.database import Database
from store.tables import marks


def mark(id: str) -> insert:
    return insert(marks).values(run_id="run", message_id=id)


def ids(connection: Connection) -> set[str]:
    return set(connection.execute(select(marks.c.message_id)).scalars())


async def test_a_write_returns_what_its_work_returned_and_is_read(database: Database) -> None:
    """The result of the work is the result of the write, and a read after it sees what it wrote."""
    assert await database.write(lambda connection: connection.execute(mark("a")).rowcount) == 1
    assert await database.read(ids) == {"a"}


async def test_concurrent_writes_share_a_commit(database: Database) -> None:
    """What many submit at the same moment is in few transactions, and each gets its own result."""
    transactions: list[Connection] = []

    def work(connection: Connection, n: int) -> int:
        transactions.append(connection)
        connection.execute(mark(str(n)))
        return n

    results = await asyncio.gather(*(database.write(lambda c, n=n: work(c, n)) for n in range(200)))
    assert results == list(range(200))
    assert len({id(connection) for connection in transactions}) <= 2
    assert len(await database.read(ids)) == 200


async def test_a_bad_work_fails_alone(database: Database) -> None:
    """Of works in one commit those that fail get their own error; the others are kept, each once."""
    await database.write(lambda connection: connection.execute(mark("5")))
    works = [database.write(lambda c, n=n: c.execute(mark(str(n))).rowcount) for n in range(20)]

    def broken(connection: Connection) -> None:
        connection.execute(mark("half"))
        raise KeyError("mine")

    *results, mine = await asyncio.gather(*works, database.write(broken), return_exceptions=True)
    assert isinstance(mine, KeyError)
    assert [n for n, result in enumerate(results) if isinstance(result, IntegrityError)] == [5]
    assert [result for n, result in enumerate(results) if n != 5] == [1] * 19
    assert await database.read(ids) == {str(n) for n in range(20)}


async def test_a_work_that_raises_stop_iteration_fails_alone(database: Database) -> None:
    """``next`` of nothing, in a work or a read, is an error as any other: no future can hold one."""
    works = [database.write(lambda c, n=n: c.execute(mark(str(n))).rowcount) for n in range(3)]
    async with asyncio.timeout(20):
        *results, mine = await asyncio.gather(
            *works, database.write(lambda _: next(iter(()))), return_exceptions=True
        )
        assert results == [1, 1, 1]
        assert isinstance(mine, RuntimeError)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.read(lambda _: next(iter(())))
        assert await database.read(ids) == {"0", "1", "2"}


async def test_a_work_that_finds_no_file_fails_alone(database: Database) -> None:
    """Its error is its own, and says nothing of the database; whoever shares its commit is not told so."""

    def broken(connection: Connection) -> None:
        connection.execute(mark("half"))
        raise FileNotFoundError("template.txt")

    works = [database.write(lambda c, n=n: c.execute(mark(str(n))).rowcount) for n in range(3)]
    *results, mine = await asyncio.gather(*works, database.write(broken), return_exceptions=True)
    assert results == [1, 1, 1]
    assert isinstance(mine, FileNotFoundError)
    assert await database.read(ids) == {"0", "1", "2"}
    with pytest.raises(FileNotFoundError):
        await database.read(broken_read)


def broken_read(connection: Connection) -> None:
    raise FileNotFoundError("template.txt")


async def test_a_group_gets_its_items_together_in_order(database: Database) -> None:
    """Items of concurrent submitters reach ``apply`` as one list, in order, and get their own results."""
    batches: list[list[int]] = []

    def apply(connection: Connection, items: list[int]) -> list[str]:
        batches.append(items)
        return [f"did {item}" for item in items]

    group = database.group(apply)
    assert await asyncio.gather(*map(group.submit, range(100))) == [f"did {n}" for n in range(100)]
    assert [item for batch in batches for item in batch] == list(range(100))
    assert len(batches) <= 2


async def test_a_bad_item_of_a_group_fails_alone(database: Database) -> None:
    """An item that breaks the shared transaction gets the error; the rest is committed, each once."""

    def apply(connection: Connection, items: list[int]) -> list[int]:
        for item in items:
            connection.execute(mark(str(item)))
            if item in (13, 57):
                raise ValueError(item)
        return items

    group = database.group(apply)
    other = database.write(lambda connection: connection.execute(mark("other")).rowcount)
    *results, alone = await asyncio.gather(*map(group.submit, range(100)), other, return_exceptions=True)
    assert alone == 1
    assert [n for n, result in enumerate(results) if isinstance(result, ValueError)] == [13, 57]
    assert [result for result in results if isinstance(result, int)] == [
        n for n in range(100) if n not in (13, 57)
    ]
    assert await database.read(ids) == {str(n) for n in range(100) if n not in (13, 57)} | {"other"}


async def test_a_result_that_is_an_error_is_raised_and_the_commit_stands(database: Database) -> None:
    """A refusal returned in an item's place reaches its submitter without undoing anything."""
    calls = []

    def apply(connection: Connection, items: list[int]) -> list[int | Exception]:
        calls.append(items)
        connection.execute(mark("kept"))
        return [ValueError("no") if item == 2 else item for item in items]

    group = database.group(apply)
    assert await group.submit(1) == 1
    with pytest.raises(IntegrityError):
        await group.submit(1)
    await database.write(lambda connection: connection.execute(marks.delete()))
    with pytest.raises(ValueError, match="no"):
        await group.submit(2)
    assert await database.read(ids) == {"kept"}
    assert calls == [[1], [1], [2]]


async def test_a_group_that_loses_a_result_is_undone(database: Database) -> None:
    """One result for each item: anything else is an error before the commit."""

    def apply(connection: Connection, items: list[int]) -> list[int]:
        connection.execute(mark("x"))
        return []

    with pytest.raises(TypeError, match="0 results for 1 items"):
        await database.group(apply).submit(1)
    assert await database.read(ids) == set()


async def test_a_write_given_up_before_it_began_is_not_done(database: Database) -> None:
    """A cancelled submitter's work that no transaction has taken yet is left out."""
    first = asyncio.ensure_future(database.write(lambda connection: connection.execute(mark("first"))))
    second = asyncio.ensure_future(database.write(lambda connection: connection.execute(mark("second"))))
    await asyncio.sleep(0)
    second.cancel()
    await first
    await asyncio.wait([second])
    assert second.cancelled()
    assert await database.read(ids) == {"first"}


async def test_a_read_can_not_write(database: Database) -> None:
    """The database itself refuses a write in a read, and goes on working."""
    with pytest.raises(DBAPIError, match=r"read-?only"):
        await database.read(lambda connection: connection.execute(mark("a")))
    await database.write(lambda connection: connection.execute(mark("b")))
    assert await database.read(ids) == {"b"}


async def test_an_error_in_a_read_reaches_its_caller(database: Database) -> None:
    """What a read raises is raised unchanged, and the next read works."""
    with pytest.raises(ZeroDivisionError):
        await database.read(lambda _: 1 // 0)
    with pytest.raises(DBAPIError):
        await database.read(lambda connection: connection.exec_driver_sql("SELECT nothing FROM nowhere"))
    assert await database.read(ids) == set()


async def test_a_read_sees_one_snapshot(lasting_url: str) -> None:
    """Two statements of one read agree, whatever is committed between them."""
    database, other = await Database.open(lasting_url, migrate=True), await Database.open(lasting_url)
    begun, written = threading.Event(), threading.Event()

    def look(connection: Connection) -> list[int]:
        count = select(func.count()).select_from(marks)
        before = connection.execute(count).scalar_one()
        begun.set()
        assert written.wait(10)
        return [before, connection.execute(count).scalar_one()]

    # In a thread and loop of its own, so that it may block between its two statements.
    reading = asyncio.create_task(asyncio.to_thread(asyncio.run, read_alone(lasting_url, look)))
    assert await asyncio.to_thread(begun.wait, 10)
    await other.write(lambda connection: connection.execute(mark("between")))
    written.set()
    assert await reading == [0, 0]
    assert await database.read(ids) == {"between"}
    await database.close()
    await other.close()


async def read_alone(url: str, work: Callable[[Connection], list[int]]) -> list[int]:
    database = await Database.open(url)
    try:
        return await database.read(work)
    finally:
        await database.close()


async def test_the_clock_is_the_databases(database: Database) -> None:
    """``now`` is seconds since the epoch, and moves."""
    first = await database.read(lambda connection: connection.execute(select(database.now())).scalar_one())
    await asyncio.sleep(0.02)
    second = await database.read(lambda c: c.execute(select(database.now() + literal(0.0))).scalar_one())
    assert first < second
    assert abs(first - time.time()) < 60


async def test_closing_waits_for_what_was_submitted(database_url: str) -> None:
    """A write that was taken ends before the database closes; one that comes later is refused."""
    database = await Database.open(database_url, migrate=True)
    taken = asyncio.ensure_future(database.write(lambda connection: connection.execute(mark("a")).rowcount))
    await asyncio.sleep(0)
    await database.close()
    assert await taken == 1
    with pytest.raises(StoreUnavailable, match="closed"):
        await database.write(lambda connection: connection.execute(mark("b")))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root@127.0.0.1/x", "no such kind of database"),
        ("nonsense", "can't be read"),
        ("sqlite:////nowhere/at/all.db", "folder /nowhere/at does not exist"),
    ],
)
async def test_an_url_that_can_not_be_right_says_so(url: str, message: str) -> None:
    """A wrong URL is a ConfigurationError that says what to write."""
    with pytest.raises(ConfigurationError, match=message):
        await Database.open(url)


async def test_a_server_that_is_not_there_is_unavailable_and_keeps_its_password_secret() -> None:
    """A refused connection is StoreUnavailable; the password is not in the message."""
    with pytest.raises(StoreUnavailable) as refused:
        await Database.open("postgresql://user:secret@127.0.0.1:1/none")
    assert "127.0.0.1:1" in str(refused.value)
    assert "secret" not in str(refused.value)


async def test_a_database_that_the_server_does_not_know_is_a_wrong_setting(postgres: Postgres) -> None:
    """A wrong name is told as such at once, not as an outage that might pass."""
    with pytest.raises(ConfigurationError, match='database "no_such" does not exist'):
        await Database.open(postgres.url("no_such"))
