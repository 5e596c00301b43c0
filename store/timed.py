"""Writes whose times are the database's, as one statement of PostgreSQL that does all of it or nothing.

In a transaction the time is a question of its own, and so is each table. Here it is a part of the statement,
and what has one value for all rows is sent once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table

from store import statements
from store.bulk import OnConflict
from store.packing import packed
from store.shortcut import Single

__all__ = ["Timed"]

Names = tuple[str, ...]


class Timed:
    """Collects inserts and updates; ``single`` is the statement, which returns its time in seconds.

    The parts do not see each other's rows, and no row may be in two of them. In each, the rows have the same
    columns and no key twice. ``same`` are columns with one value for all rows, ``now`` those that get it.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._values: list[list[Any]] = []
        self._counted: dict[int, int] = {}

    def insert(
        self,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        *,
        same: Mapping[str, Any],
        now: Names,
        ago: Names = (),
        on_conflict: OnConflict = "error",
    ) -> None:
        """Insert all ``rows``. A key that is there already fails the statement, unless ignored.

        ``ago`` are columns of which the rows say how many seconds before the statement's time they are.
        """
        if rows:
            columns = tuple(rows[0])
            self._texts.append(statements.timed_insert(table, columns, tuple(same), now, ago, on_conflict))
            self._values.append([*_columns(rows, columns), *same.values()])

    def update(
        self,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        *,
        keys: Names,
        same: Mapping[str, Any],
        now: Names,
        where: Mapping[str, Any],
    ) -> None:
        """Change all ``rows``. One that is not there, or not as ``where`` says, fails the statement."""
        if rows:
            others = tuple([column for column in rows[0] if column not in keys])
            text = statements.timed_update(table, others, tuple(same), now, keys, tuple(where))
            self._texts.append(text)
            self._values.append([*_columns(rows, others + keys), *same.values(), *where.values()])
            self._counted[len(self._texts)] = len(rows)

    def single(self) -> Single | None:
        """The statement; None when there is nothing to write."""
        if not self._texts:
            return None
        text = statements.timed(tuple(self._texts), tuple(map(len, self._values)), tuple(self._counted))
        values = [value for part in self._values for value in part]
        return Single(*packed(text, [*values, *self._counted.values()]))


def _columns(rows: Sequence[Mapping[str, Any]], names: Names) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in names]
