"""Many rows in one statement: the hot path of everything that writes.

On PostgreSQL a statement takes one array for each column (``unnest``), so that its text, its plan and
its round trip are the same for one row and for a thousand; on SQLite it is an ``executemany``. The
text is built once for each table and set of columns. Values go to the driver as they are: text, int,
float, bytes or None.

All rows of a call have the same columns. Where two rows have the same key, the later one wins
(``on_conflict="ignore"``: the earlier one).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import orjson
from sqlalchemy import Connection, Row, Table

from contracts.errors import ConfigurationError
from store import statements
from store.packing import packed
from store.shortcut import Single

__all__ = [
    "OnConflict",
    "Together",
    "answers_of",
    "ask_together",
    "delete_rows",
    "insert_rows",
    "select_rows",
    "update_rows",
]

OnConflict = Literal["error", "ignore", "update"]
Values = tuple[Any, ...]
Names = tuple[str, ...]

_MOST_KEYS = 256  # of one question to SQLite, which takes 32,766 parameters


def insert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    on_conflict: OnConflict = "error",
    returning: Sequence[str] = (),
) -> list[Row[Any]]:
    """Insert ``rows``; returns the ``returning`` columns of those inserted or updated, in no set order.

    ``on_conflict`` speaks of the primary key: "error" raises IntegrityError, "ignore" leaves the row
    that is there (and does not return it), "update" overwrites the given columns of it.
    """
    if not rows:
        return []
    columns, given = _columns_and_values(table, rows)
    sql, values = _insertion(connection.dialect.name, table, columns, given, on_conflict, tuple(returning))
    if returning:
        return _fetch(connection, sql, values)
    _execute(connection, sql, values)
    return []


def update_rows(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, keys: Sequence[str] = ()
) -> int:
    """Set, for each row, its other columns where ``keys`` (default: the primary key) are equal.

    Returns how many rows were changed. More columns than the primary key in ``keys`` make a guard:
    ``keys=("id", "epoch")`` changes nothing where the epoch is another one.
    """
    if not rows:
        return 0
    return _execute(
        connection, *_update(connection.dialect.name, table, *_columns_and_values(table, rows), tuple(keys))
    )


def delete_rows(
    connection: Connection, table: Table, keys: Sequence[Sequence[Any]], *, by: Sequence[str] = ()
) -> int:
    """Delete the rows whose ``by`` columns (default: the primary key) equal one of ``keys``.

    Each key is a sequence, also where it has one column. Returns how many rows were deleted.
    """
    if not keys:
        return 0
    sql = statements.delete(connection.dialect.name, table, tuple(by) or _primary_key(table))
    return _execute(connection, sql, [tuple(key) for key in keys])


def select_rows(
    connection: Connection,
    table: Table,
    keys: Sequence[Sequence[Any]],
    *,
    by: Sequence[str] = (),
    columns: Sequence[str] = (),
    lock: bool = False,
) -> list[Row[Any]]:
    """The ``columns`` (default: all) of the rows whose ``by`` columns (default: the primary key) equal a key.

    In no set order; a key that is given twice finds its rows once. ``lock``: nobody else changes them
    until this transaction ends; they are locked in the order of ``by``. (On SQLite nobody else writes.)
    """
    if not keys:
        return []
    wanted = tuple(columns) or tuple(table.c.keys())
    given = tuple(by) or _primary_key(table)
    values = list(dict.fromkeys(tuple(key) for key in keys))
    if connection.dialect.name != "postgresql":
        return _select_in_parts(connection, table, wanted, given, values)
    return _fetch(connection, statements.select("postgresql", table, wanted, given, lock), values)


class Together:
    """Writes of several tables that need not see each other, in one statement where the database can.

    On PostgreSQL ``run`` sends them all in one round trip, as parts of one ``WITH``: each sees the
    tables as they were before, in no set order, and no row may be in two of them. On SQLite, where a
    statement is no round trip, they are run one after the other.
    """

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._parts: list[tuple[str, list[Values]]] = []

    def insert(
        self, table: Table, rows: Sequence[Mapping[str, Any]], *, on_conflict: OnConflict = "error"
    ) -> None:
        """See ``insert_rows``."""
        if rows:
            self._parts.append(
                _insertion(self._dialect, table, *_columns_and_values(table, rows), on_conflict, ())
            )

    def update(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """See ``update_rows``; by the primary key."""
        if rows:
            self._parts.append(_update(self._dialect, table, *_columns_and_values(table, rows), ()))

    def insert_values(self, table: Table, columns: Names, rows: list[Values]) -> None:
        """See ``insert_rows``; each row is the values of ``columns``, all that have no default."""
        if rows:
            self._parts.append(_insertion(self._dialect, table, columns, rows, "error", ()))

    def update_values(self, table: Table, columns: Names, rows: list[Values]) -> None:
        """See ``update_rows``; each row is the values of ``columns``, best with the primary key last."""
        if rows:
            self._parts.append(_update(self._dialect, table, columns, rows, ()))

    def delete(self, table: Table, keys: Sequence[Sequence[Any]]) -> None:
        """See ``delete_rows``; by the primary key."""
        if keys:
            sql = statements.delete(self._dialect, table, _primary_key(table))
            self._parts.append((sql, [tuple(key) for key in keys]))

    def run(self, connection: Connection) -> None:
        """Write them all. Raises what the functions above raise."""
        if self._dialect != "postgresql":
            for sql, values in self._parts:
                _execute(connection, sql, values)
        elif self._parts:
            arrays = self._arrays()
            text = statements.together(self._texts(), tuple(map(len, arrays)))
            connection.exec_driver_sql(*packed(text, list(itertools.chain.from_iterable(arrays))))

    def single(self, table: Table, rows: Sequence[Values], *, same: Sequence[str], mark: str) -> Single:
        """All of it as one statement of PostgreSQL that fails unless ``rows`` of ``table`` are as expected.

        Each of ``rows``: the primary key, the ``same`` columns, and a new value of ``mark``. See
        ``store.statements.fenced``. No key twice.
        """
        arrays = self._arrays()
        text = statements.fenced(table, tuple(same), mark, self._texts(), tuple(map(len, arrays)))
        return Single(*packed(text, [*_arrays(list(rows)), *itertools.chain.from_iterable(arrays)]))

    def _texts(self) -> Names:
        return tuple([sql for sql, _ in self._parts])

    def _arrays(self) -> list[Values]:
        return [_arrays(values) for _, values in self._parts]


def ask_together(*asked: tuple[Table, Sequence[str], Sequence[Values]]) -> Single:
    """Several questions as one query of PostgreSQL: for each a table, columns, and the keys they may equal.

    ``answers_of`` reads what it returns.
    """
    text = statements.asked_together(tuple([(table, tuple(by)) for table, by, _ in asked]))
    arrays = [
        tuple([list(column) for column in zip(*dict.fromkeys(keys), strict=True)])
        if keys
        else tuple([[] for _ in by])
        for _, by, keys in asked
    ]
    return Single(*packed(text, list(itertools.chain.from_iterable(arrays))))


def answers_of(questions: int, rows: Sequence[Any]) -> list[list[dict[str, Any]]]:
    """What ``ask_together`` found: for each question its rows, by the names of their columns."""
    found: list[list[dict[str, Any]]] = [[] for _ in range(questions)]
    for number, row in rows:
        found[number].append(orjson.loads(row))
    return found


def _insertion(
    dialect: str,
    table: Table,
    columns: Names,
    values: list[Values],
    on_conflict: OnConflict,
    returning: Names,
) -> tuple[str, list[Values]]:
    if on_conflict == "update":
        values = _last_of_each(values, _positions(columns, _primary_key(table), table))
    columns, values = _with_defaults(table, columns, values)
    return statements.insert(dialect, table, columns, on_conflict, returning), values


def _update(
    dialect: str, table: Table, columns: Names, values: list[Values], keys: Names
) -> tuple[str, list[Values]]:
    by = keys or _primary_key(table)
    values = _last_of_each(values, _positions(columns, by, table))
    others = tuple(column for column in columns if column not in by)
    if not others:
        raise ConfigurationError(f"an update of {table.name} sets no column besides its keys {', '.join(by)}")
    sql = statements.update(dialect, table, others, by)
    if others + by == columns:
        return sql, values
    positions = _positions(columns, others + by, table)
    return sql, [tuple([row[place] for place in positions]) for row in values]


def _execute(connection: Connection, sql: str, values: list[Values]) -> int:
    if connection.dialect.name == "postgresql":
        return connection.exec_driver_sql(*packed(sql, _arrays(values))).rowcount
    return connection.exec_driver_sql(sql, values).rowcount


def _fetch(connection: Connection, sql: str, values: list[Values]) -> list[Row[Any]]:
    if connection.dialect.name == "postgresql":
        return list(connection.exec_driver_sql(*packed(sql, _arrays(values))).all())
    # sqlite3 returns no rows from an executemany.
    found: list[Row[Any]] = []
    for row in values:
        found.extend(connection.exec_driver_sql(sql, row).all())
    return found


def _select_in_parts(
    connection: Connection, table: Table, columns: Names, by: Names, values: list[Values]
) -> list[Row[Any]]:
    """Keys by the power of two, so that there are few texts and each stays prepared; NULL equals no key."""
    found: list[Row[Any]] = []
    for start in range(0, len(values), _MOST_KEYS):
        part = values[start : start + _MOST_KEYS]
        rows = 1 << (len(part) - 1).bit_length()
        part += [(None,) * len(by)] * (rows - len(part))
        sql = statements.select("sqlite", table, columns, by, rows=rows)
        found += connection.exec_driver_sql(sql, tuple(itertools.chain.from_iterable(part))).all()
    return found


def _arrays(values: list[Values]) -> Values:
    """Columns out of rows."""
    return tuple(map(list, zip(*values, strict=True)))


def _columns_and_values(table: Table, rows: Sequence[Mapping[str, Any]]) -> tuple[Names, list[Values]]:
    """The columns of the first row, and each row's values of them; all must have the same."""
    columns = tuple(rows[0])
    width = len(columns)
    try:
        values = [tuple([row[column] for column in columns]) for row in rows]
    except KeyError as error:
        raise ConfigurationError(
            f"rows for {table.name} differ: one of them has no {error.args[0]!r}"
        ) from None
    for row in rows:
        if len(row) != width:
            extra = ", ".join(repr(name) for name in row if name not in columns)
            raise ConfigurationError(
                f"rows for {table.name} differ: one of them has {extra}, the first has not"
            )
    return columns, values


def _last_of_each(values: list[Values], key: tuple[int, ...]) -> list[Values]:
    """Without earlier rows of the same key: PostgreSQL takes each row once in a statement."""
    if len(values) == 1:
        return values
    if len(key) == 1:
        (place,) = key
        latest = {row[place]: row for row in values}
    else:
        latest = {tuple([row[place] for place in key]): row for row in values}
    return values if len(latest) == len(values) else list(latest.values())


def _with_defaults(
    table: Table, columns: tuple[str, ...], values: list[Values]
) -> tuple[tuple[str, ...], list[Values]]:
    """Add the constants that the table gives to columns left out."""
    missing = statements.defaults(table, columns)
    if not missing:
        return columns, values
    constants = tuple(missing.values())
    return columns + tuple(missing), [row + constants for row in values]


def _primary_key(table: Table) -> tuple[str, ...]:
    return cast(tuple[str, ...], tuple(column.name for column in table.primary_key.columns))


def _positions(columns: tuple[str, ...], wanted: tuple[str, ...], table: Table) -> tuple[int, ...]:
    try:
        return tuple([columns.index(name) for name in wanted])
    except ValueError:
        missing = ", ".join(name for name in wanted if name not in columns)
        raise ConfigurationError(f"rows for {table.name} lack their key columns: {missing}") from None
