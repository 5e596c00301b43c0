"""Whether a formula is true of a given value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from contracts.compatibility.formats import known
from contracts.compatibility.formula import (
    And,
    Count,
    Each,
    EachName,
    EachProperty,
    Formula,
    Has,
    Length,
    Multiple,
    Names,
    OneOfValues,
    Or,
    Range,
    Schema,
    Text,
    Unique,
)
from contracts.compatibility.meaning import fraction, kind_of
from contracts.compatibility.node import Node, canonical
from contracts.judge import fits

__all__ = ["Opened", "among", "holds"]

Opened = Callable[[Node, str], Formula]


def among(names: Names, name: str) -> bool:
    """Whether a property of that name is among these."""
    if names.name is not None:
        return name == names.name
    if names.pattern is not None:
        return fits("pattern", names.pattern, name)
    listed, patterns = names.beside or (frozenset(), frozenset())
    return name not in listed and not any(fits("pattern", pattern, name) for pattern in patterns)


def holds(formula: Formula, value: Any, opened: Opened) -> bool | None:
    """Whether the value, of the kind that the formula is about, fits; None where that can't be told."""
    match formula:
        case And(parts):
            return _every(holds(part, value, opened) for part in parts)
        case Or(parts):
            return _some(holds(part, value, opened) for part in parts)
        case Schema(node, wanted):
            return _signed(holds(opened(node, kind_of(value)), value, opened), wanted)
        case OneOfValues(values, wanted):
            return (canonical(value) in values) == wanted
        case Range(side, bound):
            return _on_side(side, fraction(value), bound)
        case Multiple(of, wanted):
            return ((fraction(value) / of).denominator == 1) == wanted
        case Text("format" | "format?" as keyword, name, _) if keyword == "format?" or not known(name):
            return None
        case Text(keyword, text, wanted):
            return fits(keyword, text, value) == wanted
        case Length(least, most):
            return least <= len(value) and (most is None or len(value) <= most)
        case _:
            return _holds_inside(formula, value, opened)


def _every(found: Iterable[bool | None]) -> bool | None:
    result: bool | None = True
    for one in found:
        if one is False:
            return False
        result = result and one
    return result


def _some(found: Iterable[bool | None]) -> bool | None:
    return _signed(_every(_signed(one, False) for one in found), False)


def _signed(found: bool | None, wanted: bool) -> bool | None:
    return None if found is None else found == wanted


def _on_side(side: str, value: Fraction, bound: Fraction) -> bool:
    if value == bound:
        return side in (">=", "<=")
    return (value > bound) == (side in (">", ">="))


def _holds_inside(formula: Formula, value: Any, opened: Opened) -> bool | None:
    match formula:
        case Each(where, what, every):
            return _quantified(every, what, value[where.start : where.end], opened)
        case Count(what, least, most):
            found = [holds(what, item, opened) for item in value]
            low, high = found.count(True), found.count(True) + found.count(None)
            fitting = least <= low and (most is None or high <= most)
            return fitting or (None if least <= high and (most is None or low <= most) else False)
        case Unique(wanted):
            return (len({canonical(item) for item in value}) == len(value)) == wanted
        case EachProperty(where, what, every):
            return _quantified(
                every, what, (one for name, one in value.items() if among(where, name)), opened
            )
        case EachName(what, every):
            return _quantified(every, what, value, opened)
        case Has(name, wanted):
            return (name in value) == wanted
        case _:
            return None


def _quantified(every: bool, what: Formula, values: Iterable[Any], opened: Opened) -> bool | None:
    found = (holds(what, value, opened) for value in values)
    return _every(found) if every else _some(found)
