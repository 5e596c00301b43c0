"""The database as the other rooms see it: write (shared commits), read, and the database's clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection

from store.connect import open_engine
from store.engine import Engine
from store.shortcut import Shortcut
from store.writer import GroupCommit, Writer

__all__ = ["Database", "GroupCommit"]

I = TypeVar("I")  # noqa: E741 - the item
R = TypeVar("R")
T = TypeVar("T")

_SHARED_READS = 2  # transactions that read for many, side by side


class Database:
    """One open database. Made by ``Database.open``; one per process is enough.

    Works are synchronous functions of a ``sqlalchemy.Connection`` and may be run more than once, so
    they must have no effect outside of it. They never see a half-done transaction of somebody else.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect = engine.dialect  # "sqlite" or "postgresql"
        self._writer = Writer(engine.transact, writers=engine.writers, single=engine.single)
        self._reader = Writer(engine.read, writers=_SHARED_READS, single=engine.single, writing=False)

    @classmethod
    async def open(cls, url: str, *, pool: int = 4, writers: int = 1, migrate: bool = False) -> Database:
        """Open ``sqlite:///path.db``, ``sqlite://`` (in memory) or ``postgresql://user:pw@host/name``.

        ``pool`` is the number of readers, ``writers`` how many transactions may run side by side
        (PostgreSQL only: SQLite has one writer). ``migrate`` brings the schema up to date first.
        Raises ConfigurationError for an URL that can't be right or a schema that is newer than this
        code, StoreUnavailable when the database does not answer.
        """
        engine = await open_engine(url, pool=pool, writers=writers)
        if migrate:
            from store.migrate import (
                migrate_engine,
            )  # Alembic takes a while to import, and most need it never

            try:
                await migrate_engine(engine, url)
            except BaseException:
                await engine.close()
                raise
        return cls(engine)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a commit that is shared with whoever else writes now; returns its result.

        Raises what ``work`` raised (nothing of it is then kept), or StoreUnavailable.
        """
        result: T = await self._writer.enqueue(_run_each, work)
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on one snapshot; writing in it is refused. Raises StoreUnavailable."""
        return await self._engine.read(work)

    def group(
        self,
        apply: Callable[[Connection, list[I]], Sequence[R | Exception]],
        shortcut: Shortcut[I, R] | None = None,
    ) -> GroupCommit[I, R]:
        """A typed group commit: items of concurrent submitters are handed to ``apply`` together.

        With a ``shortcut``, what is alone in its commit is tried as one statement first.
        """
        return GroupCommit(self._writer, apply, shortcut)

    def group_read(
        self,
        apply: Callable[[Connection, list[I]], Sequence[R | Exception]],
        shortcut: Shortcut[I, R] | None = None,
    ) -> GroupCommit[I, R]:
        """Like ``group``, for reads: what many ask at the same moment is one query. Writing is refused."""
        return GroupCommit(self._reader, apply, shortcut)

    def now(self) -> ColumnElement[float]:
        """The database's clock in seconds since the epoch, for leases and deadlines."""
        return self._engine.now()

    async def close(self) -> None:
        """Return when what was submitted has ended and every connection is closed."""
        await self._writer.close()
        await self._reader.close()
        await self._engine.close()


def _run_each(connection: Connection, works: list[Callable[[Connection], Any]]) -> list[Any]:
    return [work(connection) for work in works]
