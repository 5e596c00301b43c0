"""Confluent's published rules: each difference by its name, and what strict and lenient make of it."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.compatibility import differences
from contracts.compatibility.confluent import COMPATIBLE, LENIENT, compare_as_confluent
from contracts.errors import ConfigurationError

S, I, N = {"type": "string"}, {"type": "integer"}, {"type": "number"}  # noqa: E741  # as short as the tables need


def obj(properties: Any = None, **more: Any) -> dict[str, Any]:
    """An object's schema."""
    return {"type": "object", "properties": properties or {}, **more}


def closed(properties: Any = None, **more: Any) -> dict[str, Any]:
    """An object that has no other properties."""
    return obj(properties, additionalProperties=False, **more)


def arr(**more: Any) -> dict[str, Any]:
    """An array's schema."""
    return {"type": "array", **more}


# (original, update, the differences that are named). The other direction is in the next table.
CASES: list[tuple[Any, Any, set[str]]] = [
    (S, S, set()),
    (S, I, {"TYPE_CHANGED"}),
    (I, N, {"TYPE_EXTENDED"}),
    (N, I, {"TYPE_NARROWED"}),
    ({**S, "title": "a"}, {**S, "title": "b"}, {"TITLE_CHANGED"}),
    ({**S, "default": "a"}, S, {"DEFAULT_CHANGED"}),
    (S, {**S, "maxLength": 3}, {"MAX_LENGTH_ADDED"}),
    ({**S, "maxLength": 3}, {**S, "maxLength": 4}, {"MAX_LENGTH_INCREASED"}),
    ({**S, "minLength": 3}, {**S, "minLength": 4}, {"MIN_LENGTH_INCREASED"}),
    ({**S, "minLength": 3}, S, {"MIN_LENGTH_REMOVED"}),
    ({**S, "pattern": "a"}, {**S, "pattern": "b"}, {"PATTERN_CHANGED"}),
    ({**S, "pattern": "a"}, S, {"PATTERN_REMOVED"}),
    (N, {**N, "maximum": 3}, {"MAXIMUM_ADDED"}),
    ({**N, "minimum": 3}, {**N, "minimum": 2}, {"MINIMUM_DECREASED"}),
    ({**N, "exclusiveMaximum": 3}, {**N, "exclusiveMaximum": 2}, {"EXCLUSIVE_MAXIMUM_DECREASED"}),
    ({**N, "multipleOf": 2}, {**N, "multipleOf": 4}, {"MULTIPLE_OF_EXPANDED"}),
    ({**N, "multipleOf": 4}, {**N, "multipleOf": 2}, {"MULTIPLE_OF_REDUCED"}),
    ({**N, "multipleOf": 4}, {**N, "multipleOf": 3}, {"MULTIPLE_OF_CHANGED"}),
    ({**N, "multipleOf": 0.3}, {**N, "multipleOf": 0.1}, {"MULTIPLE_OF_REDUCED"}),
    ({**N, "multipleOf": 0.01}, {**N, "multipleOf": 0.05}, {"MULTIPLE_OF_EXPANDED"}),
    (obj({"a": S}), obj({"a": S, "b": I}), {"PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL"}),
    (obj(), obj({"b": {}}), {"PROPERTY_WITH_EMPTY_SCHEMA_ADDED_TO_OPEN_CONTENT_MODEL"}),
    (obj({"a": S}), obj(), {"PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL"}),
    (closed({"a": S}), closed(), {"PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"}),
    (closed({"a": False}), closed(), {"PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL"}),
    (closed(), closed({"a": S}), {"OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL"}),
    (closed(), closed({"a": S}, required=["a"]), {"REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL"}),
    (
        closed(),
        closed({"a": {**S, "default": "x"}}, required=["a"]),
        {"REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL"},
    ),
    (
        obj(additionalProperties=S),
        obj({"a": S}, additionalProperties=S),
        {
            "PROPERTY_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
            "OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL",
        },
    ),
    (
        obj(additionalProperties=S),
        obj({"a": I}, additionalProperties=S),
        {
            "TYPE_CHANGED",
            "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
            "OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL",
        },
    ),
    (
        obj({"ab": I}, patternProperties={"^a": N}, additionalProperties=False),
        obj(patternProperties={"^a": N}, additionalProperties=False),
        {"PROPERTY_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "TYPE_EXTENDED"},
    ),
    (
        obj({"b": I}, patternProperties={"^a": N}, additionalProperties=False),
        obj(patternProperties={"^a": N}, additionalProperties=False),
        {"PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"},
    ),
    (
        obj({"ab": S}, patternProperties={"^a": N}, additionalProperties=False),
        obj(patternProperties={"^a": N}, additionalProperties=False),
        {"PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "TYPE_CHANGED"},
    ),
    (obj({"a": S}), obj({"a": S}, required=["a"]), {"REQUIRED_ATTRIBUTE_ADDED"}),
    (obj({"a": S}, required=["a"]), obj({"a": S}), {"REQUIRED_ATTRIBUTE_REMOVED"}),
    (obj(), closed(), {"ADDITIONAL_PROPERTIES_REMOVED"}),
    (closed(), obj(), {"ADDITIONAL_PROPERTIES_ADDED"}),
    (obj(), obj(additionalProperties=S), {"ADDITIONAL_PROPERTIES_NARROWED"}),
    (obj(additionalProperties=S), obj(), {"ADDITIONAL_PROPERTIES_EXTENDED"}),
    (obj(), obj(minProperties=1), {"MIN_PROPERTIES_ADDED"}),
    (obj(), obj(dependencies={"a": ["b"]}), {"DEPENDENCY_ARRAY_ADDED"}),
    (obj(dependencies={"a": ["b"]}), obj(dependencies={"a": ["b", "c"]}), {"DEPENDENCY_ARRAY_EXTENDED"}),
    (obj(dependencies={"a": ["b", "c"]}), obj(dependencies={"a": ["b"]}), {"DEPENDENCY_ARRAY_NARROWED"}),
    (obj(dependencies={"a": S}), obj(), {"DEPENDENCY_SCHEMA_REMOVED"}),
    (arr(), arr(maxItems=3), {"MAX_ITEMS_ADDED"}),
    (arr(), arr(uniqueItems=True), {"UNIQUE_ITEMS_ADDED"}),
    (arr(), arr(items=N), {"SCHEMA_ADDED"}),
    (arr(items=N), arr(), {"SCHEMA_REMOVED"}),
    (obj({"a": S}), obj({"a": S, "b": S}, required=["b"]), {"PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL"}),
    ({"allOf": [S]}, {"oneOf": [S]}, {"COMBINED_TYPE_EXTENDED"}),
    ({"anyOf": [I, S]}, {"anyOf": [N, S]}, {"TYPE_EXTENDED"}),
    ({"anyOf": [I, I, S]}, {"anyOf": [I, S]}, set()),
    (arr(items=I), arr(items=N), {"TYPE_EXTENDED"}),
    (
        arr(items=[S], additionalItems=False),
        arr(items=[S, I], additionalItems=False),
        {"ITEM_ADDED_TO_CLOSED_CONTENT_MODEL"},
    ),
    (
        arr(items=[S, I], additionalItems=False),
        arr(items=[S], additionalItems=False),
        {"ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL"},
    ),
    (arr(items=[S]), arr(items=[S, I]), {"ITEM_ADDED_TO_OPEN_CONTENT_MODEL"}),
    (arr(items=[S, I]), arr(items=[S]), {"ITEM_REMOVED_FROM_OPEN_CONTENT_MODEL"}),
    (
        arr(items=[S], additionalItems=N),
        arr(items=[S, N], additionalItems=N),
        {"ITEM_ADDED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"},
    ),
    (
        arr(items=[S, I], additionalItems=N),
        arr(items=[S], additionalItems=N),
        {"ITEM_REMOVED_IS_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", "TYPE_EXTENDED"},
    ),
    (arr(items=[S]), arr(items=[S], additionalItems=False), {"ADDITIONAL_ITEMS_REMOVED"}),
    ({"enum": ["a"]}, {"enum": ["a", "b"]}, {"ENUM_ARRAY_EXTENDED"}),
    ({"enum": ["a", "b"]}, {"enum": ["a"]}, {"ENUM_ARRAY_NARROWED"}),
    ({"enum": ["a", "b"]}, {"enum": ["a", "c"]}, {"ENUM_ARRAY_CHANGED"}),
    ({"const": 1}, {"const": 2}, {"ENUM_ARRAY_CHANGED"}),
    ({"oneOf": [S, I]}, {"oneOf": [S, I, {"type": "null"}]}, {"SUM_TYPE_EXTENDED"}),
    ({"oneOf": [S, I, {"type": "null"}]}, {"oneOf": [S, I]}, {"SUM_TYPE_NARROWED"}),
    ({"allOf": [obj({"a": S}), obj({"b": S})]}, {"allOf": [obj({"a": S})]}, {"PRODUCT_TYPE_NARROWED"}),
    ({"oneOf": [S, I]}, {"anyOf": [S, I]}, {"COMBINED_TYPE_EXTENDED"}),
    ({"anyOf": [S, I]}, {"oneOf": [S, I]}, {"COMBINED_TYPE_CHANGED"}),
    ({"oneOf": [S, I]}, {"oneOf": [S, {"type": "null"}]}, {"COMBINED_TYPE_SUBSCHEMAS_CHANGED"}),
    (S, {"type": ["string", "null"]}, {"SUM_TYPE_EXTENDED"}),
    (S, {"oneOf": [S]}, set()),
    ({"not": {"type": ["string", "null"]}}, {"not": S}, {"NOT_TYPE_NARROWED"}),
    ({"not": S}, {"not": {"type": ["string", "null"]}}, {"NOT_TYPE_EXTENDED"}),
    (
        {"$ref": "#/definitions/a", "definitions": {"a": I}},
        {"$ref": "#/definitions/b", "definitions": {"b": N}},
        {"TYPE_EXTENDED"},
    ),
]


@pytest.mark.parametrize(("original", "update", "named"), CASES)
def test_each_difference_has_its_name(original: Any, update: Any, named: set[str]) -> None:
    """The differences are named as Confluent names them, and the table says which are compatible."""
    judgement = compare_as_confluent([original, update])
    assert {one.difference.type for one in judgement.named} == named
    assert judgement.compatible == (named <= COMPATIBLE)
    assert compare_as_confluent([original, update], lenient=True).compatible == (named <= LENIENT)


def test_the_lenient_policy_forgives_content_models() -> None:
    """Adding a property to an open object is refused by the strict policy only."""
    versions = [obj({"a": S}), obj({"a": S, "b": I})]
    assert not compare_as_confluent(versions).compatible
    assert compare_as_confluent(versions, lenient=True).compatible


def test_a_difference_says_where() -> None:
    """The pointer leads to the place in the schema."""
    judgement = compare_as_confluent([obj({"a/b": obj({"c": N})}), obj({"a/b": obj({"c": I})})])
    assert [one.difference.pointer for one in judgement.named] == ["/properties/a~1b/properties/c/type"]
    assert str(judgement) == "incompatible: TYPE_NARROWED at /properties/a~1b/properties/c/type"
    assert judgement.as_json()["differences"][0]["compatible"] is False


def test_directions_and_transitivity() -> None:
    """Forward swaps the two, transitive counts every earlier version."""
    assert compare_as_confluent([N, I], "forward").compatible
    assert not compare_as_confluent([N, I], "full").compatible
    assert compare_as_confluent([N, I, I], "backward").compatible
    assert not compare_as_confluent([N, I, I], "backward_transitive").compatible


def test_recursive_schemas_come_to_an_end() -> None:
    """A schema that refers to itself is compared once."""
    tree = obj({"children": arr(items={"$ref": "#"}), "v": I})
    wide = obj({"children": arr(items={"$ref": "#"}), "v": N})
    assert {one.difference.type for one in compare_as_confluent([tree, wide]).named} == {"TYPE_EXTENDED"}
    assert compare_as_confluent([{"$ref": "#"}, {"$ref": "#/nowhere"}]).compatible


@pytest.mark.parametrize("keyword", ["properties", "anyOf"])
def test_definitions_that_double_are_refused(keyword: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty definitions that each refer twice to the next are more pairs than can be compared."""
    monkeypatch.setattr(differences, "_MOST_COMPARED", 5_000)

    def doubling(last: str) -> dict[str, Any]:
        def twice(number: int) -> Any:
            next_ = {"$ref": f"#/$defs/d{number + 1}"}
            return {"a": next_, "b": next_} if keyword == "properties" else [next_, arr(items=next_)]

        chain = {f"d{number}": {keyword: twice(number)} for number in range(40)}
        return {"$ref": "#/$defs/d0", "$defs": {**chain, "d40": {"type": last}}}

    with pytest.raises(ConfigurationError, match="inclusion"):
        compare_as_confluent([doubling("integer"), doubling("number")])
