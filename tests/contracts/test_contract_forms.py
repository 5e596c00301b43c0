"""The writers' form of a contract: what several schemas judge is closed for all of them, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from contracts.revisions import compare_revisions

BASE = "https://ride.example/base"
NAMED = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


def paid(type: str, **more: Any) -> dict[str, Any]:
    """An object that has a fare of that type."""
    return {"type": "object", "properties": {"fare": {"type": type}, **more}, "required": ["fare", *more]}


def has(name: str, schema: Any) -> dict[str, Any]:
    """An object that has that property."""
    return {"properties": {name: schema}, "required": [name]}


@pytest.mark.parametrize(
    "contract",
    [
        lambda own: {**has("meta", own), "allOf": [has("meta", NAMED)]},
        lambda own: {**has("meta", own), "$ref": BASE},
        lambda own: {**has("meta", own), "anyOf": [has("meta", NAMED)]},
        lambda own: has("lines", {"minItems": 1, "items": own, "allOf": [{"items": NAMED}]}),
        lambda own: has("lines", {"items": own, "contains": has("fare", True)}),
        lambda own: {**has("a", own), "if": has("a", {"properties": {"x": True}}), "else": False},
    ],
)
@pytest.mark.parametrize("more", [{}, {"note": True}])
def test_what_several_schemas_say_of_one_value_can_be_written(
    contract: Callable[[Any], Any], more: dict[str, Any]
) -> None:
    """Each closed by itself would refuse what the other declares: nothing could be written at all."""
    old, new = (
        {"$id": "https://ride.example/a", **contract(paid(type, **more))} for type in ("integer", "string")
    )
    found = compare_revisions(old, new, resources={BASE: has("meta", NAMED)})
    assert [one.verdict.word for one in found.comparisons] == ["incompatible", "incompatible"]


@pytest.mark.parametrize(
    "contract",
    [
        lambda own: has("data", own),
        lambda own: {"oneOf": [has("data", own), has("data", NAMED)]},
        lambda own: {"if": has("x", True), "then": has("data", own), "else": has("data", NAMED)},
        lambda own: {**has("lines", {"items": own}), "allOf": [{"required": ["lines"]}]},
    ],
)
def test_what_one_schema_says_is_closed(contract: Callable[[Any], Any]) -> None:
    """An optional property may be added; alternatives are each closed by themselves."""
    old, new = (
        contract(paid("integer")),
        contract(paid("integer") | {"properties": {"fare": {"type": "integer"}, "note": {"type": "string"}}}),
    )
    assert compare_revisions(old, new).verdict.word == "compatible"
