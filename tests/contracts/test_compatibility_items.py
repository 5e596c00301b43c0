"""Compatibility of arrays: which items are counted, which are equal, and which hold themselves."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.compatibility import Incompatible, Unknown, compare

A: dict[str, Any] = {"const": 1}


@pytest.mark.parametrize("rest", [{"not": A}, {"enum": [2, 3]}])
def test_two_equal_items_are_looked_for_behind_those_that_are_counted(rest: Any) -> None:
    """At most one `1` and at most two others: where there are three items, the equal ones are the others."""
    writer = {
        "type": "array",
        "minItems": 3,
        "items": {"anyOf": [A, rest]},
        "contains": A,
        "minContains": 0,
        "maxContains": 1,
        "allOf": [{"contains": {"not": A}, "minContains": 0, "maxContains": 2}],
    }
    verdict = compare(writer, {"uniqueItems": True})
    assert isinstance(verdict, Incompatible), verdict
    assert verdict.counterexample.count(1) == 1


@pytest.mark.parametrize(
    "recursion",
    [
        {"anyOf": [A, {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/h"}}]},
        {"anyOf": [A, {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/h"}}}]},
    ],
)
def test_of_what_holds_itself_there_are_many(recursion: Any) -> None:
    """`1`, `[1]`, `[[1]]`: two that differ are not taken for impossible."""
    two = {"type": "array", "minItems": 2, "uniqueItems": True, "items": {"$ref": "#/$defs/h"}}
    verdict = compare({**two, "$defs": {"h": recursion}}, {"type": "string"})
    assert isinstance(verdict, Incompatible | Unknown), verdict
