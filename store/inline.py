"""SQLite in memory on the caller's own thread: the same SQL, at once, and with a clock that is given.

For simulations and tests of a whole system on one event loop: nothing here waits, so that what happens
in which order is decided by the loop alone. A whole database can be taken out as bytes and put back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Double, create_engine, event, literal_column
from sqlalchemy.pool import StaticPool

__all__ = ["InlineEngine"]

T = TypeVar("T")


class InlineEngine:
    """See ``store.engine.Engine``. ``clock`` is the database's clock, in seconds since the epoch."""

    dialect = "sqlite"
    writers = 1
    single = None

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.raw.create_function("antiphon_now", 0, lambda: self.clock())
        engine = create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        event.listen(engine, "begin", lambda _: self.raw.execute("BEGIN"))
        self._connection = engine.connect()
        self._engine = engine

    async def transact(self, work: Callable[[Connection], T]) -> T:
        return self.transact_now(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return self.read_now(work)

    def transact_now(self, work: Callable[[Connection], T]) -> T:
        """``transact`` without a loop."""
        with self._connection.begin():
            return work(self._connection)

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """``read`` without a loop."""
        self.raw.execute("PRAGMA query_only=ON")
        try:
            with self._connection.begin():
                return work(self._connection)
        finally:
            self.raw.execute("PRAGMA query_only=OFF")

    def now(self) -> ColumnElement[float]:
        return literal_column("antiphon_now()", Double)

    def image(self) -> bytes:
        """The whole database."""
        return self.raw.serialize()

    def load(self, image: bytes) -> None:
        """Be what ``image`` was."""
        self.raw.deserialize(image)

    async def close(self) -> None:
        self.close_now()

    def close_now(self) -> None:
        """``close`` without a loop."""
        self._connection.close()
        self._engine.dispose()
        self.raw.close()
