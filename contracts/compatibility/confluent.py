"""Confluent's published rules, for those who come from there: named differences instead of a proof.

Schema Registry compares two JSON Schemas keyword by keyword and names each difference; which of them are
compatible is a table, and the lenient policy of content models forgives some more. The rules differ from
set inclusion both ways: some compatible changes are refused, and ``format``, ``if``, ``contains`` and
others are not looked at.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contracts.compatibility.differences import Difference, differences
from contracts.compatibility.modes import Direction, Mode
from contracts.compatibility.node import NotUnderstood, draft_of
from contracts.compatibility.validator import Validator
from contracts.errors import ConfigurationError
from contracts.subschemas import subschemas

__all__ = ["COMPATIBLE", "LENIENT", "Judgement", "Named", "compare_as_confluent", "refuse_invalid"]

COMPATIBLE = frozenset(
    [
        "ID_CHANGED",
        "TITLE_CHANGED",
        "DESCRIPTION_CHANGED",
        "DEFAULT_CHANGED",
        "TYPE_EXTENDED",
        "SCHEMA_REMOVED",
        "MAX_LENGTH_INCREASED",
        "MAX_LENGTH_REMOVED",
        "MIN_LENGTH_DECREASED",
        "MIN_LENGTH_REMOVED",
        "PATTERN_REMOVED",
        "MAXIMUM_INCREASED",
        "MAXIMUM_REMOVED",
        "MINIMUM_DECREASED",
        "MINIMUM_REMOVED",
        "EXCLUSIVE_MAXIMUM_INCREASED",
        "EXCLUSIVE_MAXIMUM_REMOVED",
        "EXCLUSIVE_MINIMUM_DECREASED",
        "EXCLUSIVE_MINIMUM_REMOVED",
        "MULTIPLE_OF_REDUCED",
        "MULTIPLE_OF_REMOVED",
        "REQUIRED_ATTRIBUTE_WITH_DEFAULT_ADDED",
        "REQUIRED_ATTRIBUTE_REMOVED",
        "DEPENDENCY_ARRAY_NARROWED",
        "DEPENDENCY_ARRAY_REMOVED",
        "DEPENDENCY_SCHEMA_REMOVED",
        "MAX_PROPERTIES_INCREASED",
        "MAX_PROPERTIES_REMOVED",
        "MIN_PROPERTIES_DECREASED",
        "MIN_PROPERTIES_REMOVED",
        "ADDITIONAL_PROPERTIES_ADDED",
        "ADDITIONAL_PROPERTIES_EXTENDED",
        "PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL",
        "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL",
        "OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL",
        "PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL",
        "PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL",
        "PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        "PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        "MAX_ITEMS_INCREASED",
        "MAX_ITEMS_REMOVED",
        "MIN_ITEMS_DECREASED",
        "MIN_ITEMS_REMOVED",
        "UNIQUE_ITEMS_REMOVED",
        "ADDITIONAL_ITEMS_ADDED",
        "ADDITIONAL_ITEMS_EXTENDED",
        "ITEM_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL",
        "ITEM_ADDED_TO_CLOSED_CONTENT_MODEL",
        "ITEM_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL",
        "ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL",
        "ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        "ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        "ENUM_ARRAY_EXTENDED",
        "COMBINED_TYPE_EXTENDED",
        "PRODUCT_TYPE_NARROWED",
        "SUM_TYPE_EXTENDED",
        "NOT_TYPE_NARROWED",
    ]
)
LENIENT = COMPATIBLE | frozenset(
    [
        "ADDITIONAL_PROPERTIES_REMOVED",
        "ADDITIONAL_PROPERTIES_NARROWED",
        "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
        "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
    ]
)


@dataclass(frozen=True, slots=True)
class Named:
    """One difference: with which earlier version (by index), in which direction, and whether allowed."""

    version: int
    direction: Direction
    difference: Difference
    compatible: bool

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": self.version,
            "direction": self.direction.value,
            "type": self.difference.type,
            "pointer": self.difference.pointer,
            "compatible": self.compatible,
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """Every difference that the rules name."""

    mode: Mode
    lenient: bool
    named: tuple[Named, ...]

    @property
    def compatible(self) -> bool:
        """Whether the rules allow every difference."""
        return all(one.compatible for one in self.named)

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "mode": self.mode.value,
            "rules": "confluent-lenient" if self.lenient else "confluent",
            "verdict": "compatible" if self.compatible else "incompatible",
            "differences": [one.as_json() for one in self.named],
        }

    def __str__(self) -> str:
        wrong = [one.difference for one in self.named if not one.compatible]
        refused = [f"{one.type} at {one.pointer or '/'}" for one in wrong]
        return "compatible" if not refused else "incompatible: " + "; ".join(refused)


def refuse_invalid(schema: Any, where: str) -> None:
    """Raises ConfigurationError for what is no JSON Schema of its draft: the rules read it unseen."""
    own = copy.deepcopy(schema)
    for _, one in subschemas(own):
        # What is in another document is not compared, so that it need not be there.
        if isinstance(one, dict) and not str(one.get("$ref", "#")).startswith("#"):
            del one["$ref"]
    try:
        Validator(own, draft_of(own), {})
    except NotUnderstood as error:
        raise ConfigurationError(f"{where}: {error}; correct it there") from error


def compare_as_confluent(
    versions: Sequence[Any], mode: Mode | str = Mode.BACKWARD, *, lenient: bool = False
) -> Judgement:
    """Compares the last version with those before it.

    Raises ValueError for a mode that is none, ConfigurationError for what takes too long to compare.
    """
    mode = Mode(mode)
    allowed = LENIENT if lenient else COMPATIBLE
    earlier = range(len(versions) - 2, -1, -1)
    named = []
    for version in earlier if mode.transitive else earlier[:1]:
        for direction in mode.directions:
            pair = (versions[version], versions[-1])
            original, update = pair if direction is Direction.BACKWARD else pair[::-1]
            found = differences(original, update, allowed)
            named += [Named(version, direction, one, one.type in allowed) for one in found]
    return Judgement(mode, lenient, tuple(named))
