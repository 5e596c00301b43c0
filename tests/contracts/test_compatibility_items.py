"""Compatibility of arrays: which items are counted, and which are equal."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.compatibility import Incompatible, compare

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
