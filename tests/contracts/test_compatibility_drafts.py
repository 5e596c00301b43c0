"""Compatibility across the drafts of JSON Schema: which is meant, and what each of them asserts."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.compatibility import Compatible, Incompatible, compare

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
