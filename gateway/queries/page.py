"""Keyset pagination: a page, and the opaque cursor to the next one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson

__all__ = ["BadCursor", "Page", "page_of", "read_cursor", "write_cursor"]

T = TypeVar("T")
R = TypeVar("R")


class BadCursor(ValueError):
    """Raised when a cursor was not made by ``write_cursor``."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the cursor to what follows; None where nothing does."""

    items: list[T]
    next: str | None


def write_cursor(at: float, id: str) -> str:
    """Where the next page begins: after the row with this time and id."""
    return base64.urlsafe_b64encode(orjson.dumps([at, id])).rstrip(b"=").decode()


def read_cursor(cursor: str) -> tuple[float, str]:
    """The time and id in a cursor. Raises BadCursor."""
    try:
        at, id = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadCursor(f"{cursor[:80]!r} is not a cursor that a page before gave") from error
    if isinstance(at, bool) or not isinstance(at, int | float) or not isinstance(id, str) or "\0" in id:
        raise BadCursor(f"{cursor[:80]!r} is not a cursor that a page before gave")
    return float(at), id


def page_of(
    rows: Sequence[R], most: int, make: Callable[[R], T], place: Callable[[R], tuple[float, str]]
) -> Page[T]:
    """A page of ``most`` items out of up to ``most + 1`` rows: the one too many says that more follow."""
    shown = rows[:most]
    more = len(rows) > most
    return Page([make(row) for row in shown], write_cursor(*place(shown[-1])) if more else None)
