"""What the embedded bus needs of a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

__all__ = ["Storage"]

T = TypeVar("T")


class Storage(Protocol):
    """A database that runs work in transactions. ``store.database.Database`` fits.

    The bus gets it handed in, so that messages and the journal share one file, one group commit
    and one fsync.
    """

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction and return once it is durable; ``work`` may run twice."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on a connection that sees every write that has returned."""
        ...
