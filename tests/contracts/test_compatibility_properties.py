"""Generated schemas against generated instances: no proof is wrong, no counterexample is false."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.compatibility import Compatible, Incompatible, compare
from contracts.compatibility.guess import guesses
from contracts.compatibility.node import NotUnderstood
from contracts.compatibility.validator import Validator

PAIRS = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = st.sampled_from(["a", "b", "c", "ab"])
PATTERNS = st.sampled_from(["^a", "b$", "^[a-c]+$", "^.$", "c", "^(a|b)$", ""])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 5, 0.5, 1.5])
SMALL = st.integers(0, 3)
TYPES = st.sampled_from(["array", "boolean", "integer", "null", "number", "object", "string"])
VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 2, -1, 0.5, 1.5, 3, "", "a", "b", "ab", "abc", "2026-01-31"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
SIMPLE = st.one_of(
    st.booleans(),
    st.builds(lambda one: {"type": one}, TYPES),
    st.builds(lambda some: {"type": some}, st.lists(TYPES, min_size=1, max_size=3, unique=True)),
    st.builds(lambda some: {"enum": some}, st.lists(VALUES, min_size=1, max_size=4)),
    st.builds(lambda one: {"const": one}, VALUES),
    st.builds(
        lambda keyword, number: {keyword: number},
        st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
        NUMBERS,
    ),
    st.builds(lambda number: {"multipleOf": number}, st.sampled_from([1, 2, 3, 0.5])),
    st.builds(lambda keyword, n: {keyword: n}, st.sampled_from(["minLength", "maxLength"]), SMALL),
    st.builds(lambda pattern: {"pattern": pattern}, PATTERNS),
    st.builds(lambda name: {"format": name}, st.sampled_from(["date", "uuid", "email"])),
    st.builds(lambda name: {"$ref": f"#/$defs/{name}"}, st.sampled_from(["x", "y"])),
)


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas that hold others, of one to three keywords."""
    several = st.lists(inner, min_size=1, max_size=3)
    keywords = st.one_of(
        st.builds(lambda one: {"properties": one}, st.dictionaries(NAMES, inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"required": some}, st.lists(NAMES, min_size=1, max_size=2, unique=True)),
        st.builds(lambda one: {"additionalProperties": one}, st.just(False) | inner),
        st.builds(lambda pattern, one: {"patternProperties": {pattern: one}}, PATTERNS, inner),
        st.builds(lambda pattern: {"propertyNames": {"pattern": pattern}}, PATTERNS),
        st.builds(lambda names: {"propertyNames": {"enum": names}}, st.lists(NAMES, min_size=1, max_size=2)),
        st.builds(lambda n: {"minProperties": n}, SMALL),
        st.builds(lambda n: {"maxProperties": n}, SMALL),
        st.builds(lambda one, other: {"dependentRequired": {one: [other]}}, NAMES, NAMES),
        st.builds(lambda name, one: {"dependentSchemas": {name: one}}, NAMES, inner),
        st.builds(lambda one: {"items": one}, inner),
        st.builds(lambda some: {"prefixItems": some}, several),
        st.builds(lambda n: {"minItems": n}, SMALL),
        st.builds(lambda n: {"maxItems": n}, SMALL),
        st.just({"uniqueItems": True}),
        st.builds(
            lambda one, least, most: {"contains": one, "minContains": least, "maxContains": most},
            inner,
            st.integers(0, 2),
            st.integers(0, 2),
        ),
        st.builds(lambda some: {"allOf": some}, several),
        st.builds(lambda some: {"anyOf": some}, several),
        st.builds(lambda some: {"oneOf": some}, several),
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda one, two, three: {"if": one, "then": two, "else": three}, inner, inner, inner),
        st.builds(lambda one: {"unevaluatedProperties": one}, st.just(False) | inner),
        st.builds(lambda one: {"unevaluatedItems": one}, st.just(False) | inner),
        SIMPLE.filter(lambda one: isinstance(one, dict)),
    )
    return st.lists(keywords, min_size=1, max_size=3).map(
        lambda some: {k: v for one in some for k, v in one.items()}
    )


PARTS = st.recursive(SIMPLE, compound, max_leaves=8)
DEFINITIONS = st.fixed_dictionaries(
    {
        "x": st.sampled_from(
            [
                {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/y"}}},
                {"type": "array", "items": {"$ref": "#/$defs/x"}, "maxItems": 2},
                {
                    "anyOf": [
                        {"type": "integer"},
                        {"type": "object", "additionalProperties": {"$ref": "#/$defs/x"}},
                    ]
                },
            ]
        ),
        "y": SIMPLE.filter(lambda one: not isinstance(one, dict) or "$ref" not in one),
    }
)


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    """A schema with its definitions."""
    part = draw(PARTS)
    return {**part, "$defs": draw(DEFINITIONS)} if isinstance(part, dict) else part


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Any, Any]:
    """Two schemas: unrelated, or the second a change of the first."""
    first = draw(schemas())
    if not isinstance(first, dict) or draw(st.booleans()):
        return first, draw(schemas())
    second = json.loads(json.dumps(first))
    keyword = draw(st.sampled_from(sorted(second)))
    if keyword != "$defs" and draw(st.booleans()):
        del second[keyword]
    change = draw(compound(PARTS))
    return first, {**second, **change} if draw(st.booleans()) else second


def accepted_only_by_the_writer(writer: Any, reader: Any, values: Any) -> list[Any]:
    """What the real validators say of some values."""
    try:
        writes, reads = Validator(writer, "2020-12", {}), Validator(reader, "2020-12", {})
    except NotUnderstood:
        return []
    return [value for value in values if writes.accepts(value) and not reads.accepts(value)]


@PAIRS
@given(pair=pairs(), values=st.lists(VALUES, max_size=10))
def test_a_verdict_is_never_wrong(pair: tuple[Any, Any], values: list[Any]) -> None:
    """Compatible: no instance says otherwise. Incompatible: the counterexample does what it says."""
    writer, reader = pair
    verdict = compare(writer, reader, steps=40_000)
    if isinstance(verdict, Incompatible):
        assert accepted_only_by_the_writer(writer, reader, [verdict.counterexample])
    if isinstance(verdict, Compatible):
        assert accepted_only_by_the_writer(writer, reader, guesses(values)) == []


@PAIRS
@given(schema=schemas(), other=PARTS)
def test_what_must_be_compatible_is_not_refuted(schema: Any, other: Any) -> None:
    """A schema is read by itself and by an alternative of it; a conjunction is read by its part."""
    if not isinstance(schema, dict):
        return
    definitions = schema["$defs"]
    rest = {keyword: value for keyword, value in schema.items() if keyword != "$defs"}
    wider = {"anyOf": [rest, other], "$defs": definitions}
    narrower = {"allOf": [other, rest], "$defs": definitions}
    for writer, reader in ((schema, {**schema, "title": "x"}), (schema, wider), (narrower, schema)):
        assert not isinstance(compare(writer, reader, steps=40_000), Incompatible)


@PAIRS
@given(one=PARTS.filter(lambda part: "$ref" not in json.dumps(part)), other=st.booleans())
def test_nothing_is_read_by_all_and_all_reads_everything(one: Any, other: bool) -> None:
    """`false` writes nothing, so that anything reads it; `true` reads everything."""
    assert compare(False, one) == Compatible()
    assert compare(one, True) == Compatible()
