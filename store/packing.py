"""Arrays as one text each: how PostgreSQL's parameters are sent when there are many rows.

A driver that encodes an array asks of each element what it is. Joined to one text, a column of a thousand
rows is one value for the driver, and ``string_to_array`` opens it again on the server: PostgreSQL manual 9.4
(its functions of texts) and 8.15.2 (how arrays of numbers are written).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

__all__ = ["packed"]

# Separators that texts hardly ever have; where one has, its column goes as an array.
_NEXT, _NULL = "\x1f", "\x1e"
_ARRAY = re.compile(r"\$(\d+)::(text|int4|int8|float8)\[\]")
_CACHED = 1_000


def packed(sql: str, values: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """``sql`` with ``$1::text[]`` and the like, and its lists: the same with texts for as many as can be."""
    kinds = _kinds(sql)
    sent = [_pack(kinds.get(number), value) for number, value in enumerate(values, 1)]
    texts = frozenset(number for number in kinds if type(sent[number - 1]) is str)
    return _opened(sql, texts), tuple(sent)


@lru_cache(_CACHED)
def _kinds(sql: str) -> dict[int, str]:
    return {int(found[1]): found[2] for found in _ARRAY.finditer(sql)}


@lru_cache(_CACHED)
def _opened(sql: str, texts: frozenset[int]) -> str:
    def opened(found: re.Match[str]) -> str:
        number, kind = int(found[1]), found[2]
        if number not in texts:
            return found[0]
        if kind == "text":
            return f"string_to_array(${number}::text, E'\\x1f', E'\\x1e')"
        return f"${number}::text::{kind}[]"

    return _ARRAY.sub(opened, sql)


def _pack(kind: str | None, values: Any) -> Any:
    """One text for a list, or the list where that would not be the same."""
    if kind is None:
        return values
    return _texts(values) if kind == "text" else _numbers(values)


def _texts(values: list[str | None]) -> Any:
    try:
        text = _NEXT.join(values)  # type: ignore[arg-type]
        nulls = 0
    except TypeError:
        nulls = values.count(None)
        if not nulls:
            return values  # no texts: the driver says so
        text = _NEXT.join([_NULL if value is None else str(value) for value in values])
    # (An empty text would be opened to no element at all.)
    unlike = not text or text.count(_NEXT) != len(values) - 1 or text.count(_NULL) != nulls
    return values if unlike else text


def _numbers(values: list[float | None]) -> Any:
    try:
        text = orjson.dumps(values)
    except orjson.JSONEncodeError:  # larger than 64 bits: the driver says so
        return values
    if text.count(b"null") != values.count(None):  # no JSON for what is no number, or infinite
        return values
    return "{" + text[1:-1].decode() + "}"
