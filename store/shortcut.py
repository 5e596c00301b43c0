"""A shortcut: what a group of items comes to, as one statement that is a transaction of its own.

On PostgreSQL a transaction of one statement is one round trip; BEGIN, a locking read, the statement and
COMMIT are four. A shortcut says the same as the work it belongs to, for the usual case, and *fails as a
whole* in every other one: then nothing has happened, and the work itself is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Shortcut", "Single"]

I = TypeVar("I")  # noqa: E741 - the item
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Single:
    """One statement of PostgreSQL: ``$1`` stands for the first of ``values``."""

    text: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Shortcut(Generic[I, R]):
    """``statement(items)`` is None where the items need the long way.

    ``results(items, rows)`` gives one result for each item, from what the statement returned.
    """

    statement: Callable[[list[I]], Single | None]
    results: Callable[[list[I], Sequence[Any]], Sequence[R | Exception]]
