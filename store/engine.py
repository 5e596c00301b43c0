"""The port of a database engine: a transaction, a read, a clock. Adapters: ``sqlite``, ``postgres``.

Works are synchronous functions of a ``sqlalchemy.Connection``, so that each is written once for both
databases; the adapter decides where they run (a thread, or a greenlet over asyncpg).

*transact*
    Begins, runs the work, commits. What the work raises undoes everything and is raised again
    unchanged. StoreUnavailable says that the database did not answer or could not store: when that
    happened during the commit itself, its fate is unknown, otherwise nothing was changed. The work
    may be run more than once (a stale connection, a deadlock), each time on a clean transaction.
*single*
    One statement as a transaction of its own (``store.shortcut``), or None where a transaction costs no more.
    When it returns None, it failed, nothing has happened, and the work must go the long way.
*read*
    One snapshot, whatever the number of statements; writing in it is refused by the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection

from store.shortcut import Single

__all__ = ["Engine", "RunSingle"]

T = TypeVar("T")


class RunSingle(Protocol):
    """See *single*. Raises StoreUnavailable; after that the fate of one that writes is unknown."""

    async def __call__(self, statement: Single, *, writing: bool) -> Sequence[Any] | None: ...


class Engine(Protocol):
    """What Database needs of an engine. ``writers`` is how many transactions may run side by side."""

    @property
    def dialect(self) -> str: ...

    @property
    def writers(self) -> int: ...

    @property
    def single(self) -> RunSingle | None: ...

    async def transact(self, work: Callable[[Connection], T]) -> T: ...

    async def read(self, work: Callable[[Connection], T]) -> T: ...

    def now(self) -> ColumnElement[float]: ...

    async def close(self) -> None: ...
