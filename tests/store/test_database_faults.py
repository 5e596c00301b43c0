"""Servers that restart, connections that break, disks that fill, processes that are killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, select

from antiphon.devservices import Postgres
from contracts.errors import StoreUnavailable
from store.bulk import insert_rows
from store.connect import open_engine
from store.database import Database
from store.tables import marks, partitions


def mark(connection: Connection, id: str) -> str:
    """Safe to repeat: whoever does not know the fate of its commit submits the same id again."""
    insert_rows(connection, marks, [{"run_id": "run", "message_id": id}], on_conflict="ignore")
    return id


def ids(connection: Connection) -> list[str]:
    return list(connection.execute(select(marks.c.message_id)).scalars())


async def write_until_acknowledged(database: Database, id: str) -> int:
    """How often it was refused before."""
    refused = 0
    while True:
        try:
            assert await database.write(lambda connection: mark(connection, id)) == id
            return refused
        except StoreUnavailable:
            refused += 1
            await asyncio.sleep(0.02)


async def test_a_server_restarted_under_load_loses_nothing_acknowledged(postgres: Postgres) -> None:
    """Writers that submit again after StoreUnavailable end with each row there, through two restarts."""
    database = await Database.open(postgres.create_database(), migrate=True)
    done = False
    acknowledged: list[str] = []
    refused = 0

    async def writer(number: int) -> None:
        nonlocal refused
        count = 0
        while not done:
            id = f"{number}-{count}"
            refused += await write_until_acknowledged(database, id)
            acknowledged.append(id)
            count += 1

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(writer(number))
        for restart in (postgres.restart, postgres.kill):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(restart)
            if restart == postgres.kill:
                await asyncio.sleep(0.1)
                await asyncio.to_thread(postgres.start)
            before = len(acknowledged)
            while len(acknowledged) < before + 100:
                await asyncio.sleep(0.02)
        done = True
    assert refused > 0
    found = await database.read(ids)
    assert len(found) == len(set(found))
    assert set(acknowledged) == set(found)
    await database.close()


async def test_after_a_restart_the_next_call_works(postgres: Postgres) -> None:
    """Connections that died in the pool are replaced without the caller noticing."""
    database = await Database.open(postgres.create_database(), migrate=True)
    await asyncio.gather(*(database.read(ids) for _ in range(4)))
    await database.write(lambda connection: mark(connection, "before"))
    await asyncio.to_thread(postgres.restart)
    await database.write(lambda connection: mark(connection, "after"))
    for found in await asyncio.gather(*(database.read(ids) for _ in range(4))):
        assert sorted(found) == ["after", "before"]
    await database.close()


class Cut:
    """When the client sends ``word``, the proxy drops the connection, before or after passing it on."""

    def __init__(self) -> None:
        self.word: bytes | None = None
        self.pass_on = False
        self.mute = False  # what the server says is not passed back


@asynccontextmanager
async def proxy(url: str) -> AsyncIterator[tuple[str, Cut]]:
    """A way to the server that can be cut at a given word; gives the URL through it."""
    cut = Cut()
    parts = urlsplit(url)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watched: bool) -> None:
        while data := await reader.read(65536):
            if watched and cut.word and cut.word in data:
                cut.word = None
                if cut.pass_on:
                    cut.mute = True
                    writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(0.1)  # the server does it, and nobody hears of it
                return
            if cut.mute and not watched:
                continue
            writer.write(data)
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        pumps = [
            asyncio.create_task(pump(reader, back, watched=True)),
            asyncio.create_task(pump(there, writer, watched=False)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        cut.mute = False
        writer.close()
        back.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield parts._replace(netloc=f"postgres@127.0.0.1:{port}").geturl(), cut
    server.close()


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_connection_lost_in_a_commit_leaves_its_fate_open(postgres: Postgres, arrived: bool) -> None:
    """The submitter is told that nobody knows, and submitting the same id again is right either way."""
    async with proxy(postgres.create_database()) as (url, cut):
        database = await Database.open(url, migrate=True)
        cut.word, cut.pass_on = b"COMMIT", arrived
        with pytest.raises(StoreUnavailable, match="fate is unknown"):
            await database.write(lambda connection: mark(connection, "a"))
        assert await database.read(ids) == (["a"] if arrived else [])
        assert await database.write(lambda connection: mark(connection, "a")) == "a"
        assert await database.read(ids) == ["a"]
        await database.close()


async def test_a_connection_lost_before_the_commit_is_replaced(postgres: Postgres) -> None:
    """Nothing was committed, so the work is run again on a new connection, and the caller sees nothing."""
    async with proxy(postgres.create_database()) as (url, cut):
        database = await Database.open(url, migrate=True)
        cut.word = b"pg_backend_pid"
        runs = []

        def work(connection: Connection) -> str:
            runs.append(1)
            mark(connection, "a")
            connection.exec_driver_sql("SELECT pg_backend_pid()")
            return mark(connection, "b")

        assert await database.write(work) == "b"
        assert len(runs) == 2
        assert sorted(await database.read(ids)) == ["a", "b"]
        await database.close()


async def test_a_statement_that_takes_too_long_is_given_up(postgres: Postgres) -> None:
    """A statement has a limit; after it the engine works on."""
    engine = await open_engine(postgres.create_database(), statement_timeout=0.3)
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.3 s"):
            await engine.transact(lambda connection: connection.exec_driver_sql("SELECT pg_sleep(30)"))
        assert await engine.transact(lambda c: c.exec_driver_sql("SELECT 1").scalar_one()) == 1
        await engine.close()


async def test_transactions_in_deadlock_are_run_again(postgres: Postgres) -> None:
    """Two transactions that lock each other out both succeed, one after the other."""
    database = await Database.open(postgres.create_database(), writers=2, migrate=True)
    await database.write(lambda c: insert_rows(c, partitions, [{"id": 1}, {"id": 2}]))

    def lock(connection: Connection, first: int, second: int) -> None:
        for id in (first, second):
            connection.execute(
                partitions.update().where(partitions.c.id == id).values(epoch=partitions.c.epoch + 1)
            )
            connection.exec_driver_sql("SELECT pg_sleep(0.2)")

    one = asyncio.ensure_future(database.write(lambda connection: lock(connection, 1, 2)))
    await asyncio.sleep(0.1)
    await asyncio.gather(one, database.write(lambda connection: lock(connection, 2, 1)))
    epochs = await database.read(
        lambda connection: list(connection.execute(select(partitions.c.epoch)).scalars())
    )
    assert epochs == [2, 2]
    await database.close()


WRITER = """
import asyncio, sys
from store.bulk import insert_rows
from store.database import Database
from store.tables import marks

async def main(url):
    database = await Database.open(url, migrate=True)
    async def writer(number):
        for count in range(1_000_000):
            id = f"{number}-{count}"
            await database.write(lambda c: insert_rows(c, marks, [{"run_id": "run", "message_id": id}]))
            print(id, flush=True)
    await asyncio.gather(*map(writer, range(10)))

asyncio.run(main(sys.argv[1]))
"""


async def test_a_killed_process_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """After ``kill -9`` in the middle of writing SQLite, every acknowledged row is in a sound file."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(500)]
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.read().split("\n")[:-1]  # the last line may be half a one
    process.stdout.close()
    process.wait()
    database = await Database.open(url)
    assert set(acknowledged) - set(await database.read(ids)) == set()
    assert await database.read(lambda c: c.exec_driver_sql("PRAGMA integrity_check").scalar_one()) == "ok"
    await database.write(lambda connection: mark(connection, "after"))
    await database.close()


async def test_a_full_disk_is_unavailable_until_there_is_room(tmp_path: Path) -> None:
    """Writes are refused with a clear error, what was acknowledged stays readable, and it recovers."""
    database = await Database.open(f"sqlite:///{tmp_path / 'store.db'}", migrate=True)
    full = await database.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one()) + 20
    await database.write(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={full}").scalar_one())
    acknowledged: list[int] = []

    async def fill() -> None:
        for n in range(1_000):
            await database.write(lambda connection, n=n: mark(connection, f"{n:04}" + "x" * 1_000))
            acknowledged.append(n)

    with pytest.raises(StoreUnavailable, match=r"database or disk is full.*see to its disk"):
        await fill()
    assert len(acknowledged) > 5
    assert [int(id[:4]) for id in sorted(await database.read(ids))] == acknowledged
    await database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000").scalar_one())
    await database.write(lambda connection: mark(connection, "room"))
    assert "room" in await database.read(ids)
    await database.close()


async def test_two_databases_on_one_file_take_turns(tmp_path: Path) -> None:
    """Writers of one file in two places wait for each other; none is refused."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    one, two = await Database.open(url, migrate=True), await Database.open(url)
    for n in range(50):
        await asyncio.gather(
            one.write(lambda connection, n=n: mark(connection, f"one {n}")),
            two.write(lambda connection, n=n: mark(connection, f"two {n}")),
        )
    assert len(await one.read(ids)) == 100
    await one.close()
    await two.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    """A damaged file is refused with its name, and is not written over."""
    path = tmp_path / "store.db"
    path.write_bytes(b"this is not a database, it is a letter" * 100)
    with pytest.raises(StoreUnavailable, match=r"store\.db could not be used: file is not a database"):
        await Database.open(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"this is not")
