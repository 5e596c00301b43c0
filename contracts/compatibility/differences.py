"""The named differences between two schemas, by Confluent's rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from contracts.compatibility.differences_inside import compare_arrays, compare_objects
from contracts.compatibility.meaning import fraction
from contracts.compatibility.node import canonical
from contracts.compatibility.shape import Shape, shape_of
from contracts.errors import ConfigurationError
from contracts.subschemas import escape

__all__ = ["Difference", "differences"]

_BOUNDS = {
    "string": (("maxLength", "MAX_LENGTH", True), ("minLength", "MIN_LENGTH", False)),
    "number": (
        ("maximum", "MAXIMUM", True),
        ("minimum", "MINIMUM", False),
        ("exclusiveMaximum", "EXCLUSIVE_MAXIMUM", True),
        ("exclusiveMinimum", "EXCLUSIVE_MINIMUM", False),
    ),
    "array": (("maxItems", "MAX_ITEMS", True), ("minItems", "MIN_ITEMS", False)),
    "object": (("maxProperties", "MAX_PROPERTIES", True), ("minProperties", "MIN_PROPERTIES", False)),
}
_MOST_COMPARED = 500_000
_SAID = (("$id", "ID"), ("title", "TITLE"), ("description", "DESCRIPTION"), ("default", "DEFAULT"))


@dataclass(frozen=True, slots=True)
class Difference:
    """``type`` is Confluent's name for it, ``pointer`` the place in the schema (RFC 6901)."""

    type: str
    pointer: str


def differences(original: Any, update: Any, allowed: frozenset[str]) -> list[Difference]:
    """What the update changed; ``allowed`` are the types of difference that count as compatible.

    Raises ConfigurationError where that takes too long to tell.
    """
    comparison = Comparing(original, update, allowed)
    comparison.compare(original, update, "")
    return comparison.found


class Comparing:
    """One comparison at work; sub-comparisons, for alternatives, are its children."""

    def __init__(
        self,
        original: Any,
        update: Any,
        allowed: frozenset[str],
        seen: frozenset[Any] = frozenset(),
        calls: Iterator[int] | None = None,
    ) -> None:
        self.roots = (original, update)
        self.allowed = allowed
        self.found: list[Difference] = []
        self._seen = seen
        self._calls = calls or count()

    @property
    def compatible(self) -> bool:
        """Whether everything found so far is allowed."""
        return all(one.type in self.allowed for one in self.found)

    def add(self, type: str, pointer: str) -> None:
        """Names a difference."""
        self.found.append(Difference(type, pointer))

    def tried(self, original: Any, update: Any, pointer: str) -> Comparing:
        """The comparison of two schemas, on its own."""
        child = Comparing(*self.roots, self.allowed, self._seen, self._calls)
        child.compare(original, update, pointer)
        return child

    def compare(self, original: Any, update: Any, pointer: str) -> None:
        """Compares two schemas, or shapes of such, in the same place."""
        key = (id(original), id(update))
        if key in self._seen or len(self._seen) > 200:
            return
        if next(self._calls) >= _MOST_COMPARED:
            raise ConfigurationError(
                f"these rules would have to compare more than {_MOST_COMPARED:,} pairs of schemas, in so "
                "many ways do definitions refer to each other; compare by inclusion"
            )
        outer, self._seen = self._seen, self._seen | {key}
        old, new = self._shape(original, 0), self._shape(update, 1)
        if not self._combined_with_plain(old, new, pointer):
            self._same_kind(old, new, pointer)
        self._seen = outer

    def _shape(self, schema: Any, side: int) -> Shape:
        return schema if isinstance(schema, Shape) else shape_of(schema, self.roots[side])

    def _combined_with_plain(self, old: Shape, new: Shape, pointer: str) -> bool:
        """A schema against a combination: settled when one of its members will do."""
        if (old.kind == "combined") == (new.kind == "combined"):
            return False
        to_sum = new.kind == "combined"
        combined = new if to_sum else old
        if len(combined.members) > 1 and (combined.criterion == "allOf") == to_sum:
            return False
        for member in combined.members:
            one = self.tried(old, member, pointer) if to_sum else self.tried(member, new, pointer)
            if one.compatible:
                self.found += one.found
                if len(combined.members) > 1:
                    self.add("SUM_TYPE_EXTENDED" if to_sum else "PRODUCT_TYPE_NARROWED", pointer)
                return True
        return False

    def _same_kind(self, old: Shape, new: Shape, pointer: str) -> None:
        if old.kind == "false" or new.kind == "empty":
            return
        if old.kind != new.kind:
            self.add("TYPE_CHANGED", pointer)
            return
        for keyword, name in _SAID:
            if old.schema.get(keyword) != new.schema.get(keyword):
                self.add(f"{name}_CHANGED", f"{pointer}/{escape(keyword)}")
        for keyword, name, upper in _BOUNDS.get(old.kind, ()):
            self._bound(old.schema.get(keyword), new.schema.get(keyword), name, upper, f"{pointer}/{keyword}")
        match old.kind:
            case "string":
                self._changed(
                    old.schema.get("pattern"), new.schema.get("pattern"), "PATTERN", f"{pointer}/pattern"
                )
            case "number":
                self._numbers(old.schema, new.schema, pointer)
            case "object":
                compare_objects(self, old.schema, new.schema, pointer)
            case "array":
                compare_arrays(self, old.schema, new.schema, pointer)
            case "enum":
                self._listed(old.schema["enum"], new.schema["enum"], f"{pointer}/enum")
            case "const" if canonical(old.schema["const"]) != canonical(new.schema["const"]):
                self.add("ENUM_ARRAY_CHANGED", f"{pointer}/const")
            case "not":
                self._negated(old.schema["not"], new.schema["not"], f"{pointer}/not")
            case "combined":
                self._combined(old, new, pointer)

    def _bound(self, old: Any, new: Any, name: str, upper: bool, pointer: str) -> None:
        if old == new:
            return
        if old is None or new is None:
            self.add(f"{name}_{'ADDED' if old is None else 'REMOVED'}", pointer)
        else:
            self.add(f"{name}_{'INCREASED' if new > old else 'DECREASED'}", pointer)

    def _changed(self, old: Any, new: Any, name: str, pointer: str) -> None:
        if old != new:
            self.add(f"{name}_{'ADDED' if old is None else 'REMOVED' if new is None else 'CHANGED'}", pointer)

    def _numbers(self, old: Mapping[str, Any], new: Mapping[str, Any], pointer: str) -> None:
        whole = [one.get("type") == "integer" for one in (old, new)]
        if whole[0] != whole[1]:
            self.add("TYPE_EXTENDED" if whole[0] else "TYPE_NARROWED", f"{pointer}/type")
        before, after = old.get("multipleOf"), new.get("multipleOf")
        if before == after:
            return
        place = f"{pointer}/multipleOf"
        if before is None or after is None:
            self.add("MULTIPLE_OF_ADDED" if before is None else "MULTIPLE_OF_REMOVED", place)
        elif fraction(after) % fraction(before) == 0:
            self.add("MULTIPLE_OF_EXPANDED", place)
        else:
            reduced = fraction(before) % fraction(after) == 0
            self.add("MULTIPLE_OF_REDUCED" if reduced else "MULTIPLE_OF_CHANGED", place)

    def _listed(self, old: Sequence[Any], new: Sequence[Any], pointer: str) -> None:
        before, after = set(map(canonical, old)), set(map(canonical, new))
        if before == after:
            return
        name = "EXTENDED" if before < after else "NARROWED" if before > after else "CHANGED"
        self.add(f"ENUM_ARRAY_{name}", pointer)

    def _negated(self, old: Any, new: Any, pointer: str) -> None:
        if old == new:
            return
        # What was forbidden may only become less.
        narrowed = self.tried(new, old, pointer).compatible
        self.add("NOT_TYPE_NARROWED" if narrowed else "NOT_TYPE_EXTENDED", pointer)

    def _combined(self, old: Shape, new: Shape, pointer: str) -> None:
        if old.criterion != new.criterion:
            extended = _criterion_extended(old, new)
            self.add("COMBINED_TYPE_EXTENDED" if extended else "COMBINED_TYPE_CHANGED", pointer)
            if not extended:
                return
        before, after = _distinct(old.members), _distinct(new.members)
        if len(before) < len(after):
            self.add("PRODUCT_TYPE_EXTENDED" if new.criterion == "allOf" else "SUM_TYPE_EXTENDED", pointer)
        elif len(before) > len(after):
            self.add("PRODUCT_TYPE_NARROWED" if old.criterion == "allOf" else "SUM_TYPE_NARROWED", pointer)
        matched = self._matched(before, after, f"{pointer}/{old.criterion}")
        for one in matched:
            self.found += one.found
        if len(matched) < min(len(before), len(after)):
            self.add("COMBINED_TYPE_SUBSCHEMAS_CHANGED", pointer)

    def _matched(self, old: list[Any], new: list[Any], pointer: str) -> list[Comparing]:
        """As many pairs of compatible members as there are (maximum bipartite matching)."""
        tried = [
            [self.tried(one, other, f"{pointer}/{index}") for other in new] for index, one in enumerate(old)
        ]
        partner: dict[int, int] = {}

        def place(index: int, visited: set[int]) -> bool:
            for other, one in enumerate(tried[index]):
                if one.compatible and other not in visited:
                    visited.add(other)
                    if other not in partner or place(partner[other], visited):
                        partner[other] = index
                        return True
            return False

        for index in range(len(old)):
            place(index, set())
        return [tried[index][other] for other, index in partner.items()]


def _criterion_extended(old: Shape, new: Shape) -> bool:
    """Whether another way of combining asks for no more than the one before."""
    single = [len(one.members) == 1 for one in (old, new)]
    return (
        new.criterion == "anyOf"
        or all(single)
        or (single[0] and new.criterion == "oneOf")
        or (single[1] and old.criterion == "allOf")
    )


def _distinct(members: Sequence[Any]) -> list[Any]:
    return list({canonical(one.schema if isinstance(one, Shape) else one): one for one in members}.values())
