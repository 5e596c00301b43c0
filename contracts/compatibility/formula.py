"""What a schema says of a value of one kind, as a formula: and, or, schemas not yet opened, and atoms.

Formulas are in negation normal form: a sign stands at schemas and atoms only. A value's kind is one of
``KINDS``; JSON's numbers are two kinds, because 1.0 is an integer and 1.5 is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from contracts.compatibility.node import Node

__all__ = [
    "FALSE",
    "KINDS",
    "TRUE",
    "And",
    "Atom",
    "Count",
    "Each",
    "EachName",
    "EachProperty",
    "Formula",
    "Has",
    "Items",
    "Length",
    "Multiple",
    "Names",
    "OneOfValues",
    "Opaque",
    "Or",
    "Range",
    "Schema",
    "Text",
    "Unique",
    "both",
    "either",
    "negate",
]

# The plainest first: so are counterexamples.
KINDS = ("string", "integer", "fraction", "boolean", "null", "array", "object")


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds; with no parts it is true."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; with no parts it is false."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """The value fits the schema, or with ``holds=False`` does not."""

    node: Node
    holds: bool = True


@dataclass(frozen=True, slots=True)
class OneOfValues:
    """The value is one of these (canonical JSON texts), or none of them."""

    values: frozenset[str]
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Range:
    """A number is on one side of a bound: ``>=``, ``>``, ``<=`` or ``<``."""

    side: str
    bound: Fraction


@dataclass(frozen=True, slots=True)
class Multiple:
    """A number is a multiple of another, or is none."""

    of: Fraction
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Text:
    """A string fits a ``pattern`` or a ``format``, or not; ``format?`` is asserted by some validators."""

    keyword: str
    value: str
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Length:
    """The number of characters, items or properties is at least, or at most, so many."""

    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """Positions of an array from ``start`` up to but without ``end``; None is without end."""

    start: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Each:
    """Each item at these positions fits (``every``), or some item there does."""

    where: Items
    what: Formula
    every: bool = True


@dataclass(frozen=True, slots=True)
class Count:
    """The number of items that fit ``what`` is at least ``least`` and at most ``most``."""

    what: Formula
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Unique:
    """No two items are equal, or some two are."""

    holds: bool = True


@dataclass(frozen=True, slots=True)
class Names:
    """Which properties: the one of that name, those whose name fits a pattern, or the rest beside both."""

    name: str | None = None
    pattern: str | None = None
    beside: tuple[frozenset[str], frozenset[str]] | None = None


@dataclass(frozen=True, slots=True)
class EachProperty:
    """Each property among these fits (``every``), or some one there does."""

    where: Names
    what: Formula
    every: bool = True


@dataclass(frozen=True, slots=True)
class EachName:
    """Each property's name fits (``every``), or some name does."""

    what: Formula
    every: bool = True


@dataclass(frozen=True, slots=True)
class Has:
    """An object has a property of that name, or has none."""

    name: str
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that is not reasoned about, in words: only its opposite is known to contradict it."""

    what: str
    holds: bool = True


Atom = (
    OneOfValues
    | Range
    | Multiple
    | Text
    | Length
    | Each
    | Count
    | Unique
    | EachProperty
    | EachName
    | Has
    | Opaque
)
Formula = And | Or | Schema | Atom

TRUE = And(())
FALSE = Or(())


def both(parts: Iterable[Formula]) -> Formula:
    """And of the parts, simplified."""
    kept: dict[Formula, None] = {}
    for part in parts:
        if part == FALSE:
            return FALSE
        for one in part.parts if isinstance(part, And) else (part,):
            kept[one] = None
    return next(iter(kept)) if len(kept) == 1 else And(tuple(kept))


def either(parts: Iterable[Formula]) -> Formula:
    """At least one of the parts, simplified."""
    kept: dict[Formula, None] = {}
    for part in parts:
        if part == TRUE:
            return TRUE
        for one in part.parts if isinstance(part, Or) else (part,):
            kept[one] = None
    return next(iter(kept)) if len(kept) == 1 else Or(tuple(kept))


_OPPOSITE = {">=": "<", ">": "<=", "<=": ">", "<": ">="}


def negate(formula: Formula) -> Formula:
    """What holds exactly where the formula does not, for values of the same kind."""
    match formula:
        case And(parts):
            return either(map(negate, parts))
        case Or(parts):
            return both(map(negate, parts))
        case Schema(node, holds):
            return Schema(node, not holds)
        case OneOfValues(values, holds):
            return OneOfValues(values, not holds)
        case Range(side, bound):
            return Range(_OPPOSITE[side], bound)
        case Multiple(of, holds):
            return Multiple(of, not holds)
        case Text(keyword, value, holds):
            return Text(keyword, value, not holds)
        case Has(name, holds):
            return Has(name, not holds)
        case Unique(holds):
            return Unique(not holds)
        case Opaque(what, holds):
            return Opaque(what, not holds)
        case _:
            return _negate_counted(formula)


def _negate_counted(formula: Formula) -> Formula:
    match formula:
        case Length(least, most):
            return either(_outside(least, most, lambda low, high: Length(low, high)))
        case Count(what, least, most):
            return either(_outside(least, most, lambda low, high: Count(what, low, high)))
        case Each(where, what, every):
            return Each(where, negate(what), not every)
        case EachProperty(names, what, every):
            return EachProperty(names, negate(what), not every)
        case EachName(what, every):
            return EachName(negate(what), not every)
        case _:
            raise TypeError(f"no negation of {formula!r}")


def _outside(least: int, most: int | None, made: Any) -> list[Formula]:
    below = [made(0, least - 1)] if least > 0 else []
    above = [made(most + 1, None)] if most is not None else []
    return below + above
