"""Values near what a schema is about: tried where no proof was found, lest one is a counterexample."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

__all__ = ["guesses", "hints"]

_ODD: tuple[Any, ...] = (None, True, 0, -1, 1.5, 10**9, "", "a", [], {}, [None], {"x": None})
_MOST = 3000


def hints(*schemas: Any) -> Iterator[Any]:
    """Values that the schemas themselves show: examples, defaults and listed values."""
    waiting = list(schemas)
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            for keyword in ("const", "default"):
                if keyword in found:
                    yield found[keyword]
            for keyword in ("enum", "examples"):
                if isinstance(found.get(keyword), list):
                    yield from found[keyword]
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)


def guesses(values: list[Any]) -> Iterator[Any]:
    """The values, odd ones, and what is one change away from each."""
    return islice(_guesses(values), _MOST)


def _guesses(values: list[Any]) -> Iterator[Any]:
    yield from values
    yield from _ODD
    for value in values:
        yield from _changed(value, 3)


def _changed(value: Any, depth: int) -> Iterator[Any]:
    if depth == 0:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {other: one for other, one in value.items() if other != name}
            for new in [*_ODD, *_changed(inner, depth - 1)]:
                yield {**value, name: new}
        for new in _ODD:
            yield {**value, "x": new}
    elif isinstance(value, list):
        yield value[:-1]
        yield value + value[-1:]
        for index, inner in enumerate(value[:8]):
            for new in [*_ODD, *_changed(inner, depth - 1)]:
                yield [*value[:index], new, *value[index + 1 :]]
    elif isinstance(value, str):
        yield from (value + "a", value[:-1], value * 2, value.upper(), f" {value}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from (value + 1, value - 1, -value, value + 0.5)
