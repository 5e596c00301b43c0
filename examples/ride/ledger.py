"""The services' own books, in an SQLite file of their own: the platform knows nothing of it.

Several processes write to it at once: WAL lets readers read meanwhile, ``BEGIN IMMEDIATE`` takes
the write lock at the start (two that read first and write later would deadlock), and the busy
timeout lets a writer wait for its turn. Writers of one process that come together share a commit,
and so its wait for the disk. What happened is written down as an entry that is never changed,
numbered by the file itself, so that the audit needs no clock.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["LEDGER_VARIABLE", "Ledger", "furnish", "ledger", "use"]

LEDGER_VARIABLE = "RIDE_LEDGER"
DRIVERS = 1000  # more than rides are ever under way at once

# key: the platform's idempotency key of the step, command or reaction that wrote the entry. It is
# unique, so that doing a thing again finds the entry instead of making a second one. Two *different*
# keys may capture the same ride: nothing here prevents it, and the audit must be able to see it.
SCHEMA = """
CREATE TABLE IF NOT EXISTS quotes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
    ride TEXT NOT NULL, amount_cents INTEGER NOT NULL, UNIQUE (key, what));
CREATE INDEX IF NOT EXISTS quotes_ride ON quotes (ride);
CREATE TABLE IF NOT EXISTS drivers (
    driver TEXT PRIMARY KEY, ride TEXT, moved INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS drivers_free ON drivers (ride, moved);
CREATE TABLE IF NOT EXISTS moves (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
    ride TEXT NOT NULL, driver TEXT, UNIQUE (key, what));
CREATE INDEX IF NOT EXISTS moves_ride ON moves (ride);
CREATE TABLE IF NOT EXISTS payments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
    ride TEXT NOT NULL, amount_cents INTEGER NOT NULL, method TEXT, UNIQUE (key, what));
CREATE INDEX IF NOT EXISTS payments_ride ON payments (ride);
CREATE TABLE IF NOT EXISTS mails (
    key TEXT PRIMARY KEY, at REAL NOT NULL, message_id TEXT NOT NULL, ride TEXT NOT NULL,
    about TEXT NOT NULL, status TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS receipts (
    key TEXT PRIMARY KEY, at REAL NOT NULL, ride TEXT NOT NULL, rider TEXT NOT NULL,
    fare_cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS earnings (
    key TEXT PRIMARY KEY, at REAL NOT NULL, ride TEXT NOT NULL, driver TEXT NOT NULL,
    earned_cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS statistics (
    key TEXT PRIMARY KEY, at REAL NOT NULL, ride TEXT NOT NULL, borough TEXT NOT NULL,
    zone TEXT NOT NULL, distance REAL NOT NULL, fare_cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS switches (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

T = TypeVar("T")
_Work = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]


class Ledger:
    """The file, opened. Work on it runs in one thread, in one transaction at a time."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, drivers: int = DRIVERS) -> None:
        self.path = path
        self.clock = clock
        self._waiting: deque[_Work] = deque()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA busy_timeout = 30000")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ride-ledger")
        self._transaction(lambda book: furnish(book, drivers))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` and commit it; what it raises undoes it, and nobody else's."""
        mine: Future[T] = Future()
        self._waiting.append((work, mine))
        self._thread.submit(self._commit_what_waits)
        return await asyncio.wrap_future(mine)

    def _commit_what_waits(self) -> None:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not taken:
            return  # an earlier turn took it along
        try:
            ends = self._transaction(lambda book: [_run(book, work) for work, _ in taken])
        except sqlite3.Error as failure:  # the commit itself: it is everybody's
            ends = [(None, failure)] * len(taken)
        for (_, waiting), (result, error) in zip(taken, ends, strict=True):
            if not waiting.set_running_or_notify_cancel():
                continue  # whoever asked has gone; what was asked is done all the same
            if error is None:
                waiting.set_result(result)
            else:
                waiting.set_exception(error)

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        book = self._connection
        book.execute("BEGIN IMMEDIATE")
        try:
            result = work(book)
            book.execute("COMMIT")
        except BaseException:
            book.execute("ROLLBACK")
            raise
        return result

    async def switch(self, name: str) -> str | None:
        """What the switch ``name`` is set to; None when nobody has set it."""

        def look(book: sqlite3.Connection) -> str | None:
            row = book.execute("SELECT value FROM switches WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row[0])

        return await self.write(look)

    async def set_switch(self, name: str, value: str) -> None:
        """Set the switch ``name``, for every process at once."""
        statement = (
            "INSERT INTO switches VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        )
        await self.write(lambda book: book.execute(statement, (name, value)))

    def close(self) -> None:
        """Finish what is at work, and close the file."""
        self._thread.shutdown(wait=True)
        self._connection.close()


def _run(book: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]) -> tuple[Any, Exception | None]:
    """One writer's work among several in a transaction: its result, or what it raised."""
    book.execute("SAVEPOINT work")
    try:
        return work(book), None
    except Exception as error:
        book.execute("ROLLBACK TO work")
        return None, error
    finally:
        book.execute("RELEASE work")


def furnish(book: sqlite3.Connection, drivers: int) -> None:
    """Make the tables, and hire the drivers where there are none."""
    # executescript would commit first: two processes that start together must take turns.
    for statement in filter(str.strip, SCHEMA.split(";")):
        book.execute(statement)
    if book.execute("SELECT 1 FROM drivers LIMIT 1").fetchone() is None:
        names = ((f"driver-{number:04d}",) for number in range(1, drivers + 1))
        book.executemany("INSERT INTO drivers (driver) VALUES (?)", names)


_chosen: list[Ledger] = []


def use(book: Ledger | None) -> None:
    """Let ``ledger()`` be this one from now on, a simulation's, say; None is the one of the environment."""
    _chosen[:] = [] if book is None else [book]
    ledger.cache_clear()


@functools.cache
def ledger() -> Ledger:
    """This process's ledger, opened when it is first asked for; the environment says where it is."""
    if _chosen:
        return _chosen[0]
    return Ledger(Path(os.environ.get(LEDGER_VARIABLE, ".antiphon/ride-ledger.sqlite")))
