"""SQLite: one writer thread with one connection, a few reader connections in a small pool of threads.

WAL with ``synchronous=FULL``: a commit that was answered survives ``kill -9`` and a power cut. The
driver's own transaction control is switched off (``isolation_level=None``), and every transaction is
begun in words: ``BEGIN IMMEDIATE`` for writers, so that none fails half way for want of the lock.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Double, create_engine, event, literal_column
from sqlalchemy.engine import URL
from sqlalchemy.engine import Engine as SyncEngine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from contracts.crash import reached
from contracts.errors import ConfigurationError, StoreUnavailable

__all__ = ["SqliteEngine"]

T = TypeVar("T")

BUSY_TIMEOUT = 30.0  # s: how long a writer waits for one in another process

# Primary result codes (sqlite.org/rescode.html) that speak of the file, not of the statement.
_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
    }
)


class SqliteEngine:
    """See ``store.engine.Engine``. In memory, reads go through the one connection there is."""

    dialect = "sqlite"
    writers = 1
    single = None

    def __init__(self, url: URL, *, pool: int) -> None:
        self._name = url.database or ":memory:"
        self._in_memory = self._name == ":memory:"
        self._write_engine = _engine(url, begin="BEGIN IMMEDIATE", pool=1, in_memory=self._in_memory)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="antiphon-sqlite-writer")
        if self._in_memory:
            self._read_engine, self._readers = self._write_engine, self._writer
        else:
            self._read_engine = _engine(url, begin="BEGIN", pool=pool, in_memory=False)
            event.listen(self._read_engine, "connect", _refuse_writes)
            self._readers = ThreadPoolExecutor(pool, thread_name_prefix="antiphon-sqlite-reader")

    @classmethod
    async def open(cls, url: URL, *, pool: int) -> SqliteEngine:
        """Open the file (it is made when missing). Raises ConfigurationError, StoreUnavailable."""
        engine = cls(url, pool=pool)
        folder = Path(engine._name).parent
        if not engine._in_memory and not folder.is_dir():
            raise ConfigurationError(f"the database's folder {folder} does not exist; make it first")
        try:
            await engine.transact(lambda _: None)  # makes the file, so that readers find it
        except BaseException:
            await engine.close()
            raise
        return engine

    async def transact(self, work: Callable[[Connection], T]) -> T:
        return await self._run(self._writer, self._write_engine, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        if self._in_memory:
            return await self._run(
                self._writer, self._write_engine, lambda connection: _guarded(connection, work)
            )
        return await self._run(self._readers, self._read_engine, work)

    def now(self) -> ColumnElement[float]:
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Double)

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.shutdown()
        self._writer.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()

    async def _run(
        self, executor: ThreadPoolExecutor, engine: SyncEngine, work: Callable[[Connection], T]
    ) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, _in_transaction, engine, work)
        except DBAPIError as error:
            code = (
                getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
            )  # extended codes keep the primary one low
            # A reader that tries to write is a mistake in the work; a writer that may not, one of the file.
            read_only = code == sqlite3.SQLITE_READONLY and executor is self._writer and not self._in_memory
            if code not in _UNAVAILABLE and not read_only:
                raise
            raise StoreUnavailable(
                f"the database file {self._name} could not be used: {error.orig}; "
                "it is tried again at the next call: see to its disk, permissions and other writers"
            ) from error


def _in_transaction(engine: SyncEngine, work: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        try:
            with connection.begin() as transaction:
                result = work(connection)
                reached("store.sqlite.commit.before")
                transaction.commit()
                reached("store.sqlite.commit.after")
            return result
        except StopIteration as error:
            # No future takes one (PEP 479): whoever waits for this transaction would wait for ever.
            raise RuntimeError(f"a work raised StopIteration: {error}") from error
        except DBAPIError as error:
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
                connection.invalidate()  # what it holds of the file may be wrong: open it afresh
            raise


def _guarded(connection: Connection, work: Callable[[Connection], T]) -> T:
    """Run a read on the connection that also writes, with writing refused meanwhile."""
    connection.exec_driver_sql("PRAGMA query_only=ON")
    try:
        return work(connection)
    finally:
        connection.exec_driver_sql("PRAGMA query_only=OFF")


def _engine(url: URL, *, begin: str, pool: int, in_memory: bool) -> SyncEngine:
    arguments: dict[str, Any] = {
        "connect_args": {"isolation_level": None, "timeout": BUSY_TIMEOUT, "check_same_thread": False}
    }
    if in_memory:
        arguments["poolclass"] = StaticPool
    else:
        arguments |= {"poolclass": QueuePool, "pool_size": pool, "max_overflow": 0}
    engine = create_engine(url, **arguments)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").close()


def _refuse_writes(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA query_only=ON").close()
