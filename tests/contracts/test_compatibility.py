"""Compatibility by set inclusion: what is narrower, what is wider, what is equal, what can't be told."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from contracts.compatibility import Compatible, Incompatible, Unknown, compare

DRAFT4 = "http://json-schema.org/draft-04/schema#"
DRAFT7 = "http://json-schema.org/draft-07/schema#"
DRAFT2019 = "https://json-schema.org/draft/2019-09/schema"


def closed(**properties: Any) -> dict[str, Any]:
    """An object with these properties and no others."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def open_(**properties: Any) -> dict[str, Any]:
    """An object with these properties and any others."""
    return {"type": "object", "properties": properties}


S, I, N = {"type": "string"}, {"type": "integer"}, {"type": "number"}  # noqa: E741  # as short as the tables need
CARD = {"properties": {"kind": {"const": "card"}, "last4": S}, "required": ["kind", "last4"]}
CASH = {"properties": {"kind": {"const": "cash"}}, "required": ["kind"]}
GIFT = {"properties": {"kind": {"const": "gift"}}, "required": ["kind"]}
TREE = {"type": "object", "properties": {"value": I, "children": {"type": "array", "items": {"$ref": "#"}}}}
WIDE_TREE = {
    "type": "object",
    "properties": {"value": N, "children": {"type": "array", "items": {"$ref": "#"}}},
}

# (narrower, wider): the wider reads what the narrower writes; the other way there is a counterexample.
NARROWER: list[tuple[Any, Any]] = [
    # types
    (I, N),
    (S, {"type": ["string", "null"]}),
    ({"type": "integer"}, {"type": ["integer", "string"]}),
    (S, {}),
    (False, S),
    (S, True),
    ({"const": 1.0}, I),
    ({"enum": [1, 2]}, {"enum": [1, 2, 3]}),
    ({"const": "a"}, {"enum": ["a", "b"]}),
    ({"enum": ["a", 1]}, {"type": ["string", "integer"]}),
    ({"enum": [True, False, None]}, {"type": ["boolean", "null", "array"]}),
    ({"type": "boolean"}, {"enum": [True, False, 0]}),
    # numbers
    ({"type": "integer", "minimum": 2}, {"type": "integer", "minimum": 1}),
    ({"type": "number", "maximum": 9}, {"type": "number", "maximum": 9.5}),
    ({"type": "number", "exclusiveMinimum": 0}, {"type": "number", "minimum": 0}),
    ({"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": -0.5}),
    ({"type": "number", "exclusiveMaximum": 10}, {"type": "number", "maximum": 10}),
    ({"type": "integer", "multipleOf": 6}, {"type": "integer", "multipleOf": 3}),
    ({"type": "number", "multipleOf": 0.1}, {"type": "number", "multipleOf": 0.01}),
    ({"type": "integer", "minimum": 1, "maximum": 3}, {"enum": [1, 2, 3, 4]}),
    ({"type": "number", "multipleOf": 2}, I),
    # texts
    ({"type": "string", "minLength": 2}, {"type": "string", "minLength": 1}),
    ({"type": "string", "maxLength": 2}, {"type": "string", "maxLength": 3}),
    ({"type": "string", "pattern": "^[a-z]+$"}, {"type": "string", "pattern": "^[a-zA-Z]+$"}),
    ({"type": "string", "pattern": "^a"}, S),
    (
        {"type": "string", "pattern": "^(?=.*[A-Z])(?=.*\\d)(?!x).{8,}$"},
        {"type": "string", "pattern": "^(?=.*\\d)(?!xx).{7,}$"},
    ),
    ({"type": "string", "pattern": "^[a-z]{2,4}$"}, {"type": "string", "maxLength": 4}),
    ({"enum": ["ab", "abc"]}, {"type": "string", "pattern": "^ab"}),
    ({"type": "string", "format": "uuid"}, {"type": "string", "maxLength": 36}),
    ({"type": "string", "format": "date"}, S),
    ({"type": "string", "format": "uri"}, {"type": "string", "format": "uri-reference"}),
    # objects
    (closed(a=S), closed(a=S, b=I)),
    (closed(a=S), open_(a=S)),
    ({**closed(b=S), "required": ["b"]}, open_(a=S)),
    (open_(a=S, b=I), open_(a=S)),
    (open_(a=I), open_(a=N)),
    ({**open_(a=S), "required": ["a"]}, open_(a=S)),
    ({**open_(a=S, b=S), "required": ["a", "b"]}, {**open_(a=S, b=S), "required": ["a"]}),
    ({"type": "object", "additionalProperties": I}, {"type": "object", "additionalProperties": N}),
    ({"type": "object", "additionalProperties": I}, open_(a=N)),
    ({**open_(a=S), "additionalProperties": S}, open_(a=S, b=S)),
    ({"type": "object", "patternProperties": {"^x": I}}, {"type": "object", "patternProperties": {"^x-": N}}),
    (closed(a=S), {"type": "object", "patternProperties": {"^a$": S}, "additionalProperties": I}),
    ({"type": "object", "minProperties": 2}, {"type": "object", "minProperties": 1}),
    ({"type": "object", "maxProperties": 1}, {"type": "object", "maxProperties": 2}),
    (closed(a=S, b=S), {"type": "object", "maxProperties": 2}),
    ({"type": "object", "required": ["a", "b"]}, {"type": "object", "minProperties": 2}),
    (
        {"type": "object", "propertyNames": {"maxLength": 2}},
        {"type": "object", "propertyNames": {"maxLength": 3}},
    ),
    ({"type": "object", "propertyNames": {"enum": ["a", "b"]}}, {"type": "object", "maxProperties": 2}),
    ({"dependentRequired": {"a": ["b", "c"]}}, {"dependentRequired": {"a": ["b"]}}),
    ({"type": "object", "required": ["b"]}, {"dependentRequired": {"a": ["b"]}}),
    (
        {"dependentSchemas": {"a": {"required": ["b"], "maxProperties": 4}}},
        {"dependentRequired": {"a": ["b"]}},
    ),
    # arrays
    ({"type": "array", "items": I}, {"type": "array", "items": N}),
    ({"type": "array", "minItems": 2}, {"type": "array", "minItems": 1}),
    ({"type": "array", "maxItems": 1}, {"type": "array", "maxItems": 2}),
    ({"type": "array", "uniqueItems": True}, {"type": "array"}),
    ({"type": "array", "maxItems": 1}, {"type": "array", "uniqueItems": True}),
    ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True}, {"type": "array", "maxItems": 2}),
    ({"prefixItems": [I, S]}, {"prefixItems": [N]}),
    ({"prefixItems": [I], "items": False}, {"prefixItems": [I, S], "items": False}),
    ({"type": "array", "prefixItems": [I], "items": False}, {"type": "array", "items": I}),
    ({"type": "array", "contains": I, "minContains": 2}, {"type": "array", "contains": N}),
    ({"type": "array", "contains": I, "maxContains": 1}, {"type": "array", "contains": I, "maxContains": 2}),
    ({"type": "array", "items": I, "minItems": 1}, {"type": "array", "contains": N}),
    # combinations
    ({"anyOf": [S, I]}, {"anyOf": [S, I, {"type": "null"}]}),
    ({"oneOf": [S, I]}, {"oneOf": [{"type": "null"}, I, S]}),
    ({"oneOf": [CARD, CASH]}, {"oneOf": [CASH, CARD, GIFT]}),
    ({"allOf": [open_(a=S), open_(b=I)]}, open_(a=S)),
    ({"allOf": [{"minimum": 1}, {"maximum": 5}], "type": "number"}, {"type": "number", "minimum": 0}),
    ({"not": {"type": ["string", "null"]}}, {"not": {"type": "null"}}),
    (
        {"oneOf": [{"minimum": 0}, {"maximum": 5}], "type": "number"},
        {"anyOf": [{"minimum": 0}, {"maximum": 5}]},
    ),
    (S, {"anyOf": [{"minLength": 3}, {"maxLength": 2}]}),
    ({"type": "number"}, {"type": ["number", "string"], "anyOf": [{"minimum": 5}, {"maximum": 6}]}),
    (
        {"if": {"required": ["a"]}, "then": {"required": ["b", "c"]}},
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
    ),
    ({"required": ["b"]}, {"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}),
    # references
    (TREE, WIDE_TREE),
    ({"$ref": "#/$defs/a", "$defs": {"a": I}}, {"$ref": "#/$defs/b", "$defs": {"b": N}}),
    ({"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": I}}, {"type": "integer", "minimum": 2}),
    ({"$defs": {"x": {"$anchor": "here", **I}}, "$ref": "#here"}, N),
    # unevaluated
    ({"allOf": [open_(a=S)], "unevaluatedProperties": False}, {"allOf": [open_(a=S)]}),
    ({"anyOf": [CARD, CASH], "type": "object", "unevaluatedProperties": False}, {"maxProperties": 2}),
    (
        {"type": "array", "allOf": [{"prefixItems": [I]}], "unevaluatedItems": False},
        {"type": "array", "maxItems": 1},
    ),
    (
        {"type": "array", "contains": I, "unevaluatedItems": S},
        {"type": "array", "items": {"type": ["integer", "string"]}},
    ),
    # other drafts
    ({"$schema": DRAFT7, "items": [I, S], "additionalItems": False}, {"$schema": DRAFT7, "maxItems": 2}),
    ({"items": [I], "additionalItems": I}, {"items": [N], "additionalItems": N}),
    (
        {"$schema": DRAFT7, "dependencies": {"a": ["b"], "c": S}},
        {"$schema": DRAFT7, "dependencies": {"a": ["b"]}},
    ),
    ({"$schema": DRAFT7, "definitions": {"a": I}, "$ref": "#/definitions/a", "minimum": 3}, N),
    (
        {"$schema": DRAFT2019, "type": "object", "properties": {"v": I, "next": {"$recursiveRef": "#"}}},
        {"$schema": DRAFT2019, "type": "object", "properties": {"v": N, "next": {"$recursiveRef": "#"}}},
    ),
    ({"$schema": DRAFT7, "type": "object", "required": ["a"]}, {"$schema": DRAFT2019, "type": "object"}),
    (
        {"$schema": DRAFT4, "type": "number", "minimum": 5, "exclusiveMinimum": True},
        {"$schema": DRAFT4, "type": "number", "minimum": 5, "const": "no keyword of draft 4"},
    ),
    ({**N, "maximum": 5, "exclusiveMaximum": True}, {**N, "maximum": 5, "exclusiveMaximum": False}),
]

EQUAL: list[tuple[Any, Any]] = [
    ({"type": ["integer", "number"]}, N),
    ({"type": "boolean"}, {"enum": [False, True]}),
    ({"type": "null"}, {"const": None}),
    ({"title": "a", "description": "b", "default": 1, "examples": [2]}, {}),
    ({"allOf": [S, {"minLength": 1}]}, {"type": "string", "minLength": 1}),
    ({"not": {"not": S}}, S),
    ({"oneOf": [S, I]}, {"anyOf": [I, S]}),
    ({"oneOf": [CARD, CASH], "type": "object"}, {"anyOf": [CARD, CASH], "type": "object"}),
    ({"type": "array", "items": False}, {"type": "array", "maxItems": 0}),
    ({"type": "object", "additionalProperties": False}, {"type": "object", "maxProperties": 0}),
    ({"const": 1}, {"const": 1.0}),
    ({"enum": [{"a": 1, "b": 2}]}, {"enum": [{"b": 2.0, "a": 1}]}),
    ({"exclusiveMinimum": 0, **I}, {"minimum": 1, **I}),
    ({"type": "string", "pattern": "^(a|b)$"}, {"enum": ["a", "b"]}),
    ({"type": "string", "pattern": "^[0-9]{3}$"}, {"type": "string", "pattern": "^\\d\\d\\d$"}),
    ({"type": "array", "contains": True}, {"type": "array", "minItems": 1}),
    (
        {"dependentRequired": {"a": ["b"]}},
        {"if": {"required": ["a"], "type": "object"}, "then": {"required": ["b"]}},
    ),
    ({"allOf": [open_(a=S)], "unevaluatedProperties": False, "type": "object"}, closed(a=S)),
    (
        TREE,
        {
            "$ref": "#/$defs/t",
            "$defs": {
                "t": {
                    **TREE,
                    "properties": {"value": I, "children": {"type": "array", "items": {"$ref": "#/$defs/t"}}},
                }
            },
        },
    ),
]

# Neither reads the other.
APART: list[tuple[Any, Any]] = [
    (S, I),
    (open_(a=S), open_(b=S)),
    ({"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "b$"}),
    ({"type": "string", "format": "date"}, {"type": "string", "format": "uuid"}),
    ({"type": "integer", "multipleOf": 4}, {"type": "integer", "multipleOf": 6}),
    ({"enum": [1, 2]}, {"enum": [2, 3]}),
    ({"type": "array", "prefixItems": [S]}, {"type": "array", "prefixItems": [I]}),
    ({"$schema": DRAFT7, "if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"required": ["c"]}),
]


def draft_of(*schemas: Any) -> str | None:
    """The draft that is named, or that the form of a schema is only valid in."""
    some = [one for one in schemas if isinstance(one, dict)]
    if any("$schema" in one for one in some):
        return next(one["$schema"] for one in some if "$schema" in one)
    if any(isinstance(one.get("exclusiveMaximum"), bool) for one in some):
        return DRAFT4
    return DRAFT7 if any(isinstance(one.get("items"), list) for one in some) else None


def refuted(writer: Any, reader: Any) -> Incompatible:
    """The refutation, confirmed here once more with the validators of each schema's own draft."""
    verdict = compare(writer, reader)
    assert isinstance(verdict, Incompatible), verdict
    accepted = []
    for schema in (writer, reader):
        draft = draft_of(schema) or draft_of(writer, reader)
        full = {"$schema": draft, **schema} if isinstance(schema, dict) and draft else schema
        validator = jsonschema_rs.validator_for(full, validate_formats=True, offline=True)
        accepted.append(validator.is_valid(verdict.counterexample))
    assert accepted == [True, False]
    assert verdict.why
    return verdict


@pytest.mark.parametrize(("narrow", "wide"), NARROWER)
def test_the_wider_reads_the_narrower_and_not_the_other_way(narrow: Any, wide: Any) -> None:
    """What accepts more reads what accepts less; the reverse is refuted by an example."""
    assert compare(narrow, wide) == Compatible()
    refuted(wide, narrow)


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_schemas_that_mean_the_same_read_each_other(one: Any, other: Any) -> None:
    """However it is written, the same set of instances is compatible both ways."""
    assert compare(one, other) == Compatible()
    assert compare(other, one) == Compatible()


@pytest.mark.parametrize(("one", "other"), APART)
def test_schemas_that_each_accept_something_else_do_not(one: Any, other: Any) -> None:
    """Where each accepts what the other refuses, both directions are refuted."""
    refuted(one, other)
    refuted(other, one)


def test_a_counterexample_says_where_and_why() -> None:
    """The refutation points into the instance and says what the reader wants there."""
    found = refuted(open_(ride=open_(fare=N)), open_(ride=open_(fare=I)))
    assert found.pointer == "/ride/fare"
    assert "integer" in found.why


@pytest.mark.parametrize(
    ("writer", "reader", "reason"),
    [
        ([], {}, "list"),
        ({"type": "objekt"}, {}, "writer"),
        ({}, {"minLength": -1}, "reader"),
        ({"$schema": "https://example.com/mine"}, {}, "drafts"),
        ({"$ref": "https://example.com/x"}, {}, "example.com"),
        ({"$ref": "#/$defs/gone"}, {}, "gone"),
        ({"$ref": "#"}, I, "itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [S, {"$ref": "#"}]}}}, {"type": "null"}, "itself"),
        ({"type": "string", "pattern": "(?<=a)b"}, {"type": "string", "pattern": "(?<=a)c"}, "look-around"),
        (S, {"type": "string", "format": "licence-plate"}, "licence-plate"),
        ({"$schema": DRAFT7, **S}, {"$schema": DRAFT7, "format": "uuid", **S}, "draft 7"),
        (
            {"$schema": DRAFT7, "contentMediaType": "text/x", **S},
            {"$schema": DRAFT7, "contentMediaType": "text/y", **S},
            "content",
        ),
        ({1: 2}, {}, "JSON"),
    ],
)
def test_what_can_not_be_told_says_why(writer: Any, reader: Any, reason: str) -> None:
    """Neither proved nor refuted is unknown, with the reason; it is never taken for compatible."""
    verdict = compare(writer, reader)
    assert isinstance(verdict, Unknown), verdict
    assert reason in verdict.reason


def test_the_same_schema_is_compatible_whatever_is_in_it() -> None:
    """A schema reads itself, also where its keywords are not reasoned about."""
    odd = {"type": "string", "pattern": "(?<=a)b", "format": "licence-plate"}
    assert compare(odd, {**odd, "title": "the same"}) == Compatible()
    assert compare(odd, dict(odd)) == Compatible()


def test_what_is_not_understood_hides_nothing_else() -> None:
    """A format or a pattern that is not reasoned about does not stand in the way of another difference."""
    for odd in ({"format": "licence-plate"}, {"$schema": DRAFT7, "format": "uuid"}):
        draft = {"$schema": odd["$schema"]} if "$schema" in odd else {}
        writer = {
            **draft,
            **open_(a={"type": "string", "format": odd["format"]}, b=S),
            "required": ["a", "b"],
        }
        reader = {**draft, **open_(a={"type": "string", "format": odd["format"]}, b=I), "required": ["a"]}
        assert refuted(writer, reader).pointer == "/b"
        assert compare(writer, {**reader, **open_(a=S, b=S)}) == Compatible()


def test_references_lead_to_given_resources() -> None:
    """A reference to another document is followed where that document is given, for each side its own."""
    uri = "https://ride.example/money"
    schema = {"properties": {"fare": {"$ref": uri}}}
    options = {"writer_resources": {uri: I}, "reader_resources": {uri: N}}
    assert compare(schema, schema, **options) == Compatible()
    swapped = {"writer_resources": {uri: N}, "reader_resources": {uri: I}}
    verdict = compare(schema, schema, **swapped)
    assert isinstance(verdict, Incompatible)
    assert verdict.pointer == "/fare"


def test_a_nested_id_changes_what_references_are_relative_to() -> None:
    """References resolve against the nearest `$id`."""
    schema = {
        "$id": "https://ride.example/a",
        "$ref": "b",
        "$defs": {"x": {"$id": "b", "$ref": "#/$defs/y", "$defs": {"y": I}}, "y": S},
    }
    assert compare(schema, I) == Compatible()
