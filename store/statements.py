"""The SQL of ``store.bulk``, built once for each database, table and set of columns.

SQLite: one parameter for each value. PostgreSQL: one array parameter for each column, opened by
``unnest``. Placeholders and identifiers only: no value ever stands in the text.
"""

# ruff: noqa: S608 - the text is made of the names of tables and columns, which are ours and are quoted

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, ColumnDefault, Double, Integer, LargeBinary, Table, Text

from contracts.errors import ConfigurationError

__all__ = [
    "asked_together",
    "defaults",
    "delete",
    "fenced",
    "insert",
    "select",
    "timed",
    "timed_insert",
    "timed_update",
    "together",
    "update",
]

Names = tuple[str, ...]

_CACHED = 1_000
_PARAMETER = re.compile(r"\$(\d+)::")
# The order matters: a BigInteger is an Integer.
_ARRAYS = (
    (BigInteger, "int8[]"),
    (Integer, "int4[]"),
    (Double, "float8[]"),
    (LargeBinary, "bytea[]"),
    (Text, "text[]"),
)


@lru_cache(_CACHED)
def insert(dialect: str, table: Table, columns: Names, on_conflict: str, returning: Names) -> str:
    names = _list(columns)
    if dialect == "postgresql":
        source = f"SELECT * FROM {_unnest(table, columns, ())}"
    else:
        source = f"VALUES ({_marks(len(columns))})"
    sql = f"INSERT INTO {_quote(table.name)} ({names}) {source}"
    sql += _conflict(table, columns, on_conflict)
    return sql + (f" RETURNING {_list(returning)}" if returning else "")


@lru_cache(_CACHED)
def update(dialect: str, table: Table, columns: Names, keys: Names) -> str:
    name = _quote(table.name)
    if dialect == "postgresql":
        sets = ", ".join(f"{_quote(column)} = v.{_quote(column)}" for column in columns)
        return (
            f"UPDATE {name} SET {sets} FROM {_unnest(table, columns + keys, columns + keys)} "
            f"WHERE {_match(name, keys)}"
        )
    sets = ", ".join(f"{_quote(column)} = ?" for column in columns)
    return f"UPDATE {name} SET {sets} WHERE {_equal(keys)}"


@lru_cache(_CACHED)
def delete(dialect: str, table: Table, keys: Names) -> str:
    name = _quote(table.name)
    if dialect == "postgresql":
        return f"DELETE FROM {name} USING {_unnest(table, keys, keys)} WHERE {_match(name, keys)}"
    return f"DELETE FROM {name} WHERE {_equal(keys)}"


@lru_cache(_CACHED)
def select(dialect: str, table: Table, columns: Names, keys: Names, lock: bool = False, rows: int = 1) -> str:
    """``rows``, for SQLite alone: how many keys it takes.

    SQLite's planner keeps the order of a CROSS JOIN (sqlite.org/optoverview.html, 8.2), so that each row is
    found by its key; for IN with two columns it reads the whole table.
    """
    name = _quote(table.name)
    _check(table, columns)
    wanted = ", ".join(f"{name}.{_quote(column)}" for column in columns)
    if dialect == "postgresql":
        sql = f"SELECT {wanted} FROM {name}, {_unnest(table, keys, keys)} WHERE {_match(name, keys)}"
        order = ", ".join(f"{name}.{_quote(key)}" for key in keys)
        return sql + (f" ORDER BY {order} FOR UPDATE OF {name}" if lock else "")
    _check(table, keys)
    given = ", ".join([f"({_marks(len(keys))})"] * rows)
    match = " AND ".join(f"{name}.{_quote(key)} = v.column{number}" for number, key in enumerate(keys, 1))
    return f"SELECT {wanted} FROM (VALUES {given}) AS v CROSS JOIN {name} ON {match}"


@lru_cache(_CACHED)
def together(parts: Names, widths: tuple[int, ...]) -> str:
    """One PostgreSQL statement of several; ``widths`` are the numbers of their parameters."""
    *others, last = _shifted(parts, widths, 0)
    named = _named(others)
    return f"WITH {named} {last}" if named else last


@lru_cache(_CACHED)
def fenced(table: Table, same: Names, mark: str, parts: Names, widths: tuple[int, ...]) -> str:
    """``together`` that takes effect only if each row of ``table`` that is named is as it was expected.

    Its first parameters are arrays: the primary key, the ``same`` columns, ``mark``. A row is as expected if
    ``same`` is equal, and ``mark`` is not there yet; it is locked and marked. If any is not, the division
    by zero at the end undoes the whole statement. (PostgreSQL manual 7.8.4: parts of a WITH that write are
    run to their end, and all of them are one statement.)
    """
    keys = tuple(column.name for column in table.primary_key.columns)
    name, marked = _quote(table.name), _quote(mark)
    given = (*keys, *same, mark)
    locked = (
        f"SELECT {', '.join(f'v.{_quote(column)}' for column in (*keys, mark))} "
        f"FROM {name}, {_unnest(table, given, given)} "
        f"WHERE {_match(name, keys + same)} AND {name}.{marked} IS DISTINCT FROM v.{marked} "
        f"ORDER BY {', '.join(f'{name}.{_quote(key)}' for key in keys)} FOR UPDATE OF {name}"
    )
    marking = f"UPDATE {name} SET {marked} = v.{marked} FROM locked AS v WHERE {_match(name, keys)}"
    ctes = [f"locked AS MATERIALIZED ({locked})", f"marking AS ({marking})"]
    if parts:
        ctes.append(_named(_shifted(parts, widths, len(given))))
    expected = f"cardinality({_parameter(table, given, 1)})"
    return f"WITH {', '.join(ctes)} SELECT 1 / (count(*) = {expected})::int FROM locked"


@lru_cache(_CACHED)
def timed_insert(table: Table, columns: Names, same: Names, now: Names, ago: Names, on_conflict: str) -> str:
    """Rows of PostgreSQL whose ``now`` columns are the time of ``timed``; ``same`` have one value for all.

    Those of the ``columns`` that are ``ago`` are given as seconds before that time.
    """
    values = [f"clock.now - v.{_quote(c)}" if c in ago else f"v.{_quote(c)}" for c in columns]
    values += [_value(table, column, number) for number, column in enumerate(same, len(columns) + 1)]
    values += ["clock.now"] * len(now)
    sql = f"INSERT INTO {_quote(table.name)} ({_list((*columns, *same, *now))}) SELECT {', '.join(values)} "
    sql += f"FROM {_unnest(table, columns, columns)}, clock"
    return sql + _conflict(table, (*columns, *same, *now), on_conflict)


@lru_cache(_CACHED)
def timed_update(table: Table, columns: Names, same: Names, now: Names, keys: Names, where: Names) -> str:
    """Changes of ``columns`` by ``keys``; ``held`` says whether each of ``where`` has its one value.

    See ``timed_insert``. ``where`` is no condition of the search: as long as a table is young, the planner
    takes one for so selective that it reads the whole table for it, instead of the rows by their keys.
    """
    name, given = _quote(table.name), columns + keys
    if set(where) & {*columns, *same, *now}:
        raise ValueError(f"{where} are read after the change: none of them can be changed")
    sets = [f"{_quote(column)} = v.{_quote(column)}" for column in columns]
    sets += [f"{_quote(c)} = {_value(table, c, n)}" for n, c in enumerate(same, len(given) + 1)]
    sets += [f"{_quote(column)} = clock.now" for column in now]
    guards = enumerate(where, len(given) + len(same) + 1)
    held = " AND ".join([f"{name}.{_quote(c)} = {_value(table, c, n)}" for n, c in guards]) or "true"
    return (
        f"UPDATE {name} SET {', '.join(sets)} FROM {_unnest(table, given, given)}, clock "
        f"WHERE {_match(name, keys)} RETURNING {held} AS held"
    )


@lru_cache(_CACHED)
def timed(parts: Names, widths: tuple[int, ...], counted: tuple[int, ...]) -> str:
    """Parts of the two kinds above as one statement, which returns its time.

    Its last parameters are how many rows each ``counted`` part must have: with any other number the
    division by zero at the end undoes the whole statement, as in ``fenced``.
    """
    clock = "clock AS MATERIALIZED (SELECT extract(epoch from clock_timestamp())::float8 AS now)"
    numbers = enumerate(counted, sum(widths) + 1)
    checks = [f"(SELECT count(*) FROM part{part} WHERE held) = ${number}::int8" for number, part in numbers]
    right = f" / ({' AND '.join(checks)})::int" if checks else ""
    return f"WITH {clock}, {_named(_shifted(parts, widths, 0))} SELECT now{right} FROM clock"


@lru_cache(_CACHED)
def asked_together(asked: tuple[tuple[Table, Names], ...]) -> str:
    """One PostgreSQL query of several: rows of (number of the question, row as JSON text).

    Each question is a table and the columns that must equal one of the keys given.
    """
    parts = [
        f"SELECT {number}, row_to_json({_quote(table.name)})::text FROM {_quote(table.name)}, "
        f"{_unnest(table, keys, keys)} WHERE {_match(_quote(table.name), keys)}"
        for number, (table, keys) in enumerate(asked)
    ]
    return " UNION ALL ".join(_shifted(tuple(parts), tuple(len(keys) for _, keys in asked), 0))


def _shifted(parts: Names, widths: tuple[int, ...], before: int) -> list[str]:
    """The parts with their parameters numbered one behind the other, from ``before`` on."""
    shifted: list[str] = []
    for part, width in zip(parts, widths, strict=True):
        shifted.append(_PARAMETER.sub(lambda found: f"${int(found[1]) + before}::", part))  # noqa: B023
        before += width
    return shifted


def _named(parts: list[str]) -> str:
    return ", ".join(f"part{number} AS ({part})" for number, part in enumerate(parts, 1))


@lru_cache(_CACHED)
def defaults(table: Table, given: Names) -> dict[str, Any]:
    """Constants of the columns that are not ``given``."""
    _check(table, given)
    return {
        column.name: column.default.arg
        for column in table.columns
        if column.name not in given and isinstance(column.default, ColumnDefault) and column.default.is_scalar
    }


def _conflict(table: Table, columns: Names, on_conflict: str) -> str:
    if on_conflict == "error":
        return ""
    keys = tuple(column.name for column in table.primary_key.columns)
    others = [_quote(column) for column in columns if column not in keys]
    target = f" ON CONFLICT ({_list(keys)}) DO "
    if on_conflict == "ignore" or not others:
        return target + "NOTHING"
    return target + "UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in others)


def _unnest(table: Table, columns: Names, names: Names) -> str:
    _check(table, columns)
    arrays = ", ".join(_parameter(table, columns, n) for n in range(1, len(columns) + 1))
    return f"unnest({arrays})" + (f" AS v ({_list(names)})" if names else "")


def _parameter(table: Table, columns: Names, number: int) -> str:
    return f"${number}::{_array(table, columns[number - 1])}"


def _value(table: Table, column: str, number: int) -> str:
    return f"${number}::{_array(table, column).removesuffix('[]')}"


def _array(table: Table, column: str) -> str:
    kind = table.c[column].type
    for known, array in _ARRAYS:
        if isinstance(kind, known):
            return array
    raise ConfigurationError(
        f"{table.name}.{column} is of the type {kind!r}, which the bulk statements do not know; add it there"
    )


def _check(table: Table, columns: Names) -> None:
    unknown = ", ".join(repr(column) for column in columns if column not in table.c)
    if unknown:
        raise ConfigurationError(f"the table {table.name} has no column {unknown}")


def _match(name: str, keys: Names) -> str:
    return " AND ".join(f"{name}.{_quote(key)} = v.{_quote(key)}" for key in keys)


def _equal(keys: Names) -> str:
    return " AND ".join(f"{_quote(key)} = ?" for key in keys)


def _marks(number: int) -> str:
    return ", ".join("?" * number)


def _list(names: Names) -> str:
    return ", ".join(_quote(name) for name in names)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
