"""Compatibility where references lead to different places by draft, and by the way to them."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.compatibility import Incompatible, Unknown, compare

DRAFT2019 = "https://json-schema.org/draft/2019-09/schema"
S: dict[str, Any] = {"type": "string"}


@pytest.mark.parametrize(
    ("draft", "keyword"),
    [
        ("http://json-schema.org/draft-07/schema#", "$dynamicRef"),
        (DRAFT2019, "$dynamicRef"),
        ("https://json-schema.org/draft/2020-12/schema", "$recursiveRef"),
    ],
)
def test_a_reference_of_another_draft_is_none(draft: str, keyword: str) -> None:
    """No validator follows it, so that a writer may write anything."""
    writer = {"$schema": draft, keyword: "#/$defs/a", "$defs": {"a": S}}
    assert isinstance(compare(writer, {"$schema": draft, **S}), Incompatible)


def tree(anchor: str, reference: dict[str, Any]) -> dict[str, Any]:
    """A tree whose children are what the outermost schema says."""
    value: Any = True if anchor == "$recursiveAnchor" else "node"
    plain = {"$id": "tree", anchor: value, "properties": {"kid": reference}}
    return {
        "$id": "https://ride.example/strict",
        anchor: value,
        "$ref": "tree",
        "required": ["q"],
        "$defs": {"t": plain},
    }


def test_a_recursive_anchor_that_is_there_twice_is_not_taken_for_the_inner() -> None:
    """A kid of a strict tree is strict, which a tree by itself does not say."""
    strict = {"$schema": DRAFT2019, **tree("$recursiveAnchor", {"$recursiveRef": "#"})}
    writer = {"$schema": DRAFT2019, "const": {"q": 1, "kid": {}}}
    assert isinstance(compare(writer, strict), Incompatible | Unknown)


def test_a_dynamic_reference_is_told_by_its_way_or_not_at_all() -> None:
    """In the strict tree by itself a kid is strict; where there is a plain one beside it, it depends."""
    strict = tree("$dynamicAnchor", {"$dynamicRef": "#node"})
    verdict = compare({"type": "object", "required": ["q"]}, strict)
    assert isinstance(verdict, Incompatible)
    assert verdict.pointer == "/kid"
    both = {
        "properties": {"plain": {"$ref": "https://ride.example/tree"}, "strict": {"$ref": strict["$id"]}},
        "$defs": {"s": strict},
    }
    reader = {"properties": {"plain": {"properties": {"kid": {"required": ["q"]}}}}}
    assert isinstance(compare(both, reader), Incompatible | Unknown)
    swapped = {**both, "properties": dict(reversed(both["properties"].items()))}
    assert isinstance(compare(swapped, reader), Incompatible | Unknown)
