"""Files of contracts: what the registry refuses at load, with the file, the place and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ride_contracts import BASE, BOOKED, MONEY, Write, violations

from contracts.errors import ConfigurationError
from contracts.registry import Registry


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ({**MONEY, "$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema"),
        ({**MONEY, "type": "objekt"}, "at /type: not JSON Schema"),
        ({**MONEY, "properties": {"a": {"minLength": -1}}}, "at /properties/a/minLength"),
        ({**MONEY, "properties": {"a": {"pattern": "("}}}, "at /properties/a/pattern"),
        ({**MONEY, "properties": {"a": {"format": "datetime"}}}, "Unknown format"),
        ({name: value for name, value in MONEY.items() if name != "$id"}, "at /$id"),
        ({**MONEY, "$id": "money"}, "absolute URI"),
        ({**MONEY, "description": " "}, "at /description"),
        ({**MONEY, "examples": []}, "at /examples"),
        ({**MONEY, "examples": [MONEY["examples"][0], {"amount": 1}]}, "at /examples/1"),
        ({**MONEY, "properties": {"a": {"$ref": "#/$defs/gone"}}}, "at /properties/a/$ref"),
        ({**MONEY, "items": {"$ref": "https://elsewhere.example/x.json"}}, "nothing is fetched"),
        ({**MONEY, "allOf": [{"$dynamicRef": "../ride/x.v1.json"}]}, "at /allOf/0/$dynamicRef"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(write: Write, schema: Any, message: str) -> None:
    """A contract that is wrong stops the start: the error names the file, the place and what to do."""
    with pytest.raises(ConfigurationError) as caught:
        Registry.load(write(common__money__v1=schema))
    assert "money.v1.json" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name", ["ride/booked.json", "booked.v1.json", "ride/Booked.v1.json", "ride/booked.v0.json"]
)
def test_a_file_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """A file whose place says no type is an error, not silently left out."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(BOOKED))
    with pytest.raises(ConfigurationError, match=r"v<major>\.json"):
        Registry.load(tmp_path)


def test_a_missing_folder_and_a_double_id_are_refused(tmp_path: Path, write: Write) -> None:
    """A folder that is not there, and two contracts of one `$id`, are errors."""
    with pytest.raises(ConfigurationError, match="no such folder"):
        Registry.load(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="already defined"):
        Registry.load(write(common__money__v1=MONEY, common__cash__v1=MONEY))


def test_a_reference_in_an_example_is_data(write: Write) -> None:
    """A `$ref` inside `const`, `enum` or `examples` is not followed."""
    schema = {
        "$id": BASE + "x",
        "description": "An odd one.",
        "enum": [{"$ref": "nowhere"}],
        "examples": [{"$ref": "nowhere"}],
    }
    registry = Registry.load(write(common__odd__v1=schema))
    registry.validate("common.odd.v1", {"$ref": "nowhere"})


def test_references_resolve_against_a_nested_id(write: Write) -> None:
    """A subschema with an `$id` of its own changes what the references inside it are relative to."""
    schema = {
        "$id": BASE + "ride/nested.v1.json",
        "description": "Nested.",
        "properties": {"fare": {"$id": "../common/inner/", "allOf": [{"$ref": "../money.v1.json"}]}},
        "examples": [{}],
    }
    registry = Registry.load(write(ride__nested__v1=schema, common__money__v1=MONEY))
    assert set(violations(registry, {"fare": {"amount": 1}}, "ride.nested.v1")) == {"/fare/currency"}
