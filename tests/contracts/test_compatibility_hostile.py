"""Schemas that are made to hurt: an answer comes, soon, and it is no crash."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from contracts.compatibility import Compatible, Incompatible, Unknown, compare
from contracts.compatibility.budget import Budget, OutOfBudget
from contracts.compatibility.meaning import meaning
from contracts.compatibility.node import Document

I = {"type": "integer"}  # noqa: E741  # as short as the tables need


def nested(depth: int, wrap: Callable[[Any], Any], inner: Any) -> Any:
    """A schema wrapped many times."""
    for _ in range(depth):
        inner = wrap(inner)
    return inner


def laughs(keyword: str) -> dict[str, Any]:
    """Forty definitions, each of which refers twice to the next."""
    chain = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    return {"$ref": "#/$defs/d0", "$defs": {**chain, "d40": I}}


def choices(number: int) -> dict[str, Any]:
    """A formula that has to be satisfied, with many clauses over many names."""
    clauses = []
    for n in range(number):
        names = [f"p{(n * 7) % 30}", f"p{(n * 11 + 3) % 30}", f"p{(n * 5 + 1) % 30}"]
        first, second, third = ({"required": [name]} for name in names)
        clauses.append({"anyOf": [first, {"not": second}, third]})
    return {"type": "object", "allOf": clauses, "minProperties": 3, "maxProperties": 3}


UNEVALUATED = {"anyOf": [{"properties": {f"p{n}": True}} for n in range(20)], "unevaluatedProperties": False}
MORE = {"type": "object", "properties": {"k": {"const": 60}}, "required": ["k"]}
TAGGED = [
    {"type": "object", "properties": {"k": {"const": n}, f"v{n}": I}, "required": ["k"]} for n in range(60)
]


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (nested(1000, lambda s: {"items": s}, I), {"type": "array"}),
        (nested(100_000, lambda s: {"not": s}, I), I),
        (nested(100, lambda s: {"allOf": [s, s]}, I), {"type": "number"}),
        (nested(60, lambda s: {"anyOf": [s, {"items": s}]}, I), {"type": "array"}),
        (laughs("allOf"), {"type": "string"}),
        (laughs("oneOf"), {"type": "number"}),
        (choices(80), {"type": "object", "maxProperties": 2}),
        ({"pattern": "^.*a.{40}$", "type": "string"}, {"pattern": "^.*b.{40}$"}),
        ({"pattern": "(a{0,900}){0,900}", "type": "string"}, {"pattern": "b"}),
        ({"pattern": "^(([a-z])+.)+[A-Z]([a-z])+$", "type": "string"}, {"pattern": "^((a+)+)+$"}),
        ({"type": "array", "minItems": 10**9}, {"minItems": 10**9 + 1}),
        ({"type": "string", "minLength": 10**12}, {"minLength": 10**12 + 1}),
        ({"type": "object", "minProperties": 10**9}, {"minProperties": 10**9 + 1}),
        (
            {"type": "array", "contains": I, "maxContains": 10, "minItems": 20},
            {"contains": I, "minContains": 11},
        ),
        ({"type": "number", "multipleOf": 1e-300}, {"multipleOf": 1e300}),
        ({"type": "integer", "minimum": 10**4000}, {"maximum": 10**4001}),
        (UNEVALUATED, {"minProperties": 9}),
        ({"patternProperties": {f"{n}": {"minimum": n} for n in range(30)}}, {"additionalProperties": I}),
        ({"$ref": "#/properties/a", "properties": {"a": {"$ref": "#"}}}, {}),
    ],
)
def test_an_answer_comes_within_its_budget(writer: Any, reader: Any) -> None:
    """Whatever the schemas, both directions are answered, in no more steps than were given."""
    for one, other in itertools.permutations((writer, reader)):
        verdict = compare(one, other, steps=60_000, seconds=10)
        assert isinstance(verdict, Compatible | Incompatible | Unknown)


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        (nested(100, lambda s: {"allOf": [s]}, I), {"type": "number"}),
        ({"oneOf": TAGGED}, {"oneOf": [*TAGGED, MORE]}),
        ({"enum": list(range(5000))}, {"enum": list(range(5001))}),
        (
            {"properties": {f"p{n}": I for n in range(1000)}},
            {"properties": {f"p{n}": {"type": "number"} for n in range(1000)}},
        ),
        (
            {"type": "array", "uniqueItems": True, "items": {**I, "minimum": 0, "maximum": 48}},
            {"maxItems": 49},
        ),
        ({"type": "string", "pattern": "^[a-z]{1,500}$"}, {"type": "string", "pattern": "^[a-z]{1,501}$"}),
    ],
)
def test_large_schemas_are_decided(writer: Any, reader: Any) -> None:
    """Size alone is no reason for not knowing; that a machine is busy with something else is one."""
    assert compare(writer, reader, seconds=60) == Compatible()
    assert isinstance(compare(reader, writer, seconds=60), Incompatible)


def test_exactly_one_of_many_counts_as_what_it_is() -> None:
    """Of n alternatives that do not exclude each other it takes n times n words: they are paid for."""
    many = {"oneOf": [{"minimum": n} for n in range(300)]}
    node = Document(many, "2020-12", {}, Budget(1_000, 60)).root
    with pytest.raises(OutOfBudget):
        meaning(node, "integer")
    late = itertools.chain([0, 1], itertools.repeat(100))
    node = Document(many, "2020-12", {}, Budget(10**9, 60, lambda: next(late))).root
    with pytest.raises(OutOfBudget):
        meaning(node, "integer")


def test_the_clock_ends_it() -> None:
    """When the seconds are used up the verdict is unknown, whatever is left of the steps."""
    ticks = itertools.count(0, 100)
    verdict = compare(
        choices(40), {"type": "object", "maxProperties": 2}, seconds=1, clock=lambda: next(ticks)
    )
    assert isinstance(verdict, Unknown)
    assert "too long" in verdict.reason
