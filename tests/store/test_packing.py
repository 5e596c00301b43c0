"""Columns sent as one text each: PostgreSQL reads back what an array would have given it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from antiphon.devservices import Postgres
from store.connect import open_engine
from store.packing import packed
from store.shortcut import Single

TEXTS: list[list[str | None]] = [
    ["plain"],
    ["a", "b", "c"],
    [""],
    ["", ""],
    [None],
    [None, "", None],
    ["{", "}", ",", '"', "\\", "NULL", "null"],
    ["line\nend", "tab\t", "\r", "\x01", "\x1c"],
    ["ÆØÅ", "日本語", "🚕"],
    ["\x1f"],
    ["\x1e"],
    ["a\x1fb", None],
    ["\x1e", None],
    [],
]
NUMBERS: dict[str, list[list[Any]]] = {
    "int4": [[1], [0, -1, 2**31 - 1, None], [None], []],
    "int8": [[2**63 - 1, -(2**63)], [None, 5]],
    "float8": [[0.1, 1e300, -5e-324, 1_732_458_123.123456], [math.inf, -math.inf], [None, math.inf], [3]],
}


async def opened(postgres: Postgres, kind: str, values: list[Any]) -> list[Any]:
    """The values as the database has them."""
    text, sent = packed(
        f"SELECT v FROM unnest($1::{kind}[]) WITH ORDINALITY AS u (v, n) ORDER BY n", [values]
    )
    engine = await open_engine(postgres.create_database(), pool=1, writers=1)
    try:
        assert engine.single is not None
        rows = await engine.single(Single(text, sent), writing=False)
        assert rows is not None
        return [row[0] for row in rows]
    finally:
        await engine.close()


@pytest.mark.parametrize("values", TEXTS)
async def test_texts_come_back(postgres: Postgres, values: list[str | None]) -> None:
    """Also those that hold a separator, an empty text alone, and what means something in an array."""
    assert await opened(postgres, "text", values) == values


@pytest.mark.parametrize(
    ("kind", "values"), [(kind, case) for kind, cases in NUMBERS.items() for case in cases]
)
async def test_numbers_come_back(postgres: Postgres, kind: str, values: list[Any]) -> None:
    """Exactly: floats to the last bit, and the infinite ones."""
    assert await opened(postgres, kind, values) == values


def test_what_can_be_one_text_is() -> None:
    """And what can't, goes as it was; each parameter by itself."""
    sql = "SELECT * FROM unnest($1::text[], $2::int8[], $3::text[], $4::bytea[]), cardinality($1::text[])"
    text, sent = packed(sql, [["a", "b"], [1, None], ["x\x1fy", "z"], [b"1", b"2"]])
    assert sent == ("a\x1fb", "{1,null}", ["x\x1fy", "z"], [b"1", b"2"])
    opened = r"string_to_array($1::text, E'\x1f', E'\x1e')"
    assert text == (
        f"SELECT * FROM unnest({opened}, $2::text::int8[], $3::text[], $4::bytea[]), cardinality({opened})"
    )


def test_what_is_of_another_kind_is_left_to_the_driver_to_refuse() -> None:
    """It names the value; here is no place to guess."""
    sql = "SELECT unnest($1::text[]), unnest($2::int8[])"
    assert packed(sql, [[1, 2], [2**64]]) == (sql, ([1, 2], [2**64]))
