"""Compatibility across the drafts of JSON Schema: which is meant, and what each of them asserts."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.compatibility import Compatible, Incompatible, Unknown, compare

DRAFT4 = "http://json-schema.org/draft-04/schema#"
DRAFT6 = "http://json-schema.org/draft-06/schema#"
DRAFT7 = "http://json-schema.org/draft-07/schema#"
DRAFT2020 = "https://json-schema.org/draft/2020-12/schema"
S: dict[str, Any] = {"type": "string"}
ORDER = {"type": "object", "properties": {"id": S}}


@pytest.mark.parametrize(
    "data", [{"examples": [{"items": [1]}]}, {"default": {"items": []}}, {"const": {"items": [1]}}]
)
def test_a_list_of_items_in_data_is_no_old_draft(data: dict[str, Any]) -> None:
    """An order's example has a list of items; its schema is of today all the same."""
    writer = {**ORDER, **data}
    reader = {"$ref": "#/$defs/order", "required": ["id"], **data, "$defs": {"order": ORDER}}
    verdict = compare({**writer, "const": {"items": [1]}}, reader)
    assert isinstance(verdict, Incompatible), verdict
    assert verdict.counterexample == {"items": [1]}


def test_properties_may_be_called_like_keywords() -> None:
    """A property `exclusiveMinimum` makes no draft 4, and one called `items` no draft 7."""
    named = {"properties": {"exclusiveMinimum": True, "items": S}}
    assert compare({**named, "required": ["items"]}, named) == Compatible()


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"properties": {"a": one}, "required": ["a"]}])
@pytest.mark.parametrize(
    ("draft", "format"),
    [(DRAFT4, "iri"), (DRAFT4, "json-pointer"), (DRAFT6, "iri"), (DRAFT7, "uuid"), (DRAFT7, "duration")],
)
def test_a_format_that_a_draft_does_not_have_is_not_kept_to_there(draft: str, format: str, wrap: Any) -> None:
    """A writer of an old draft may write any text there; a reader of a newer one refuses it."""
    schema = wrap({"type": "string", "format": format})
    old, new = {"$schema": draft, **schema}, {"$schema": DRAFT2020, **schema}
    assert isinstance(compare(old, new), Incompatible | Unknown)
    assert compare(old, {"$schema": DRAFT2020, **wrap(S)}) == Compatible()


def test_draft_6_has_no_conditions() -> None:
    """`if` came with draft 7: before, it says nothing of what a writer may write."""
    writer = {"$schema": DRAFT6, "if": True, "then": False}
    assert isinstance(compare(writer, {"$schema": DRAFT6, **S}), Incompatible)
    assert compare({**writer, "$schema": DRAFT7}, {"$schema": DRAFT7, **S}) == Compatible()


def test_what_an_old_schema_refers_to_is_as_old() -> None:
    """Draft 4's exclusive bounds are flags, also in another document."""
    known = {"https://ride.example/p": {"type": "number", "minimum": 3, "exclusiveMinimum": True}}
    writer, reader = (
        {"$schema": DRAFT4, "$ref": "https://ride.example/p"},
        {"minimum": 3, "not": {"enum": [3]}},
    )
    assert compare(writer, {**reader, "$schema": DRAFT4}, writer_resources=known) == Compatible()


@pytest.mark.parametrize(("draft", "id"), [(DRAFT4, "id"), (DRAFT6, "$id"), (DRAFT7, "$id")])
@pytest.mark.parametrize("reference", ["#/definitions/a", "ride.json#/definitions/a", "ride.json#a"])
def test_an_id_may_end_with_an_empty_fragment(draft: str, id: str, reference: str) -> None:
    """As the schemas of old drafts mostly do; references lead on from there."""
    named = {"$schema": draft, id: "https://ride.example/ride.json#"}
    writer = {**named, "definitions": {"a": {id: "#a", **S}}, "properties": {"x": {"$ref": reference}}}
    reader = {"$schema": draft, "properties": {"x": S}}
    assert compare(writer, reader) == Compatible()
    assert compare(reader, writer) == Compatible()
