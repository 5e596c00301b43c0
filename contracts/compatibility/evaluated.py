"""``unevaluatedProperties`` and ``unevaluatedItems``: what is left over depends on which alternatives hold.

A schema is split into its outcomes: for each way in which it can hold, a formula, and what has been
evaluated then. What remains is closed by an ordinary "each of the rest" (JSON Schema 2020-12 core §11,
2019-09 core §9.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from contracts.compatibility.formula import (
    FALSE,
    TRUE,
    Each,
    EachProperty,
    Formula,
    Has,
    Items,
    Names,
    Opaque,
    Schema,
    both,
    either,
)
from contracts.compatibility.meaning import meaning
from contracts.compatibility.node import Node

__all__ = ["opened"]

_MOST_OUTCOMES = 64
_KEYWORD = {"object": "unevaluatedProperties", "array": "unevaluatedItems"}
_IN_PLACE = frozenset(
    {
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "then",
        "else",
        "dependentSchemas",
    }
)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One way to hold, and what is evaluated then."""

    formula: Formula
    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    prefix: int = 0
    containing: frozenset[Formula] = frozenset()
    everything: bool = False

    def joined(self, other: _Outcome) -> _Outcome:
        return _Outcome(
            both([self.formula, other.formula]),
            self.names | other.names,
            self.patterns | other.patterns,
            max(self.prefix, other.prefix),
            self.containing | other.containing,
            self.everything or other.everything,
        )


class _Unclear(Exception):
    """Raised with the reason when it can't be told what is left unevaluated."""


def opened(node: Node, kind: str) -> Formula:
    """What a schema says of a value of that kind, one level deep. Raises NotUnderstood, OutOfBudget."""
    node.document.budget.spend()
    schema = node.schema
    if isinstance(schema, bool):
        return TRUE if schema else FALSE
    if node.draft == "7" and "$ref" in schema:
        return Schema(node.target(schema["$ref"]))
    if node.draft != "7" and _KEYWORD.get(kind) in schema:
        return _with_unevaluated(node, kind, _KEYWORD[kind])
    return meaning(node, kind)


def _with_unevaluated(node: Node, kind: str, keyword: str) -> Formula:
    try:
        outcomes = _outcomes(node, kind, frozenset({keyword}))
    except _Unclear as error:
        what = f"{keyword} can't be told: {error} ({node.fingerprint[:12]})"
        return both([meaning(node, kind), Opaque(what)])
    rest = Schema(node.child(node.schema[keyword]))
    return either(both([outcome.formula, _closed(outcome, kind, rest)]) for outcome in outcomes)


def _closed(outcome: _Outcome, kind: str, rest: Formula) -> Formula:
    if outcome.everything:
        return TRUE
    if kind == "object":
        return EachProperty(Names(beside=(outcome.names, outcome.patterns)), rest)
    return Each(Items(outcome.prefix), either([rest, *sorted(outcome.containing, key=repr)]))


def _outcomes(node: Node, kind: str, left_out: frozenset[str] = frozenset()) -> list[_Outcome]:
    node.document.budget.spend()
    schema = node.schema
    if isinstance(schema, bool):
        return [_Outcome(TRUE)] if schema else []
    own = _Outcome(meaning(node, kind, _IN_PLACE | left_out), **_evaluated(node, kind))
    if own.formula == FALSE:
        return []
    found = [own]
    for alternatives in _applied(node, kind):
        found = [one.joined(other) for one, other in product(found, _few(alternatives))]
        found = [one for one in _few(found) if one.formula != FALSE]
    inner = _KEYWORD[kind]
    if inner in schema and inner not in left_out:
        rest = Schema(node.child(schema[inner]))
        found = [one.joined(_Outcome(_closed(one, kind, rest), everything=True)) for one in found]
    return found


def _few(outcomes: Iterable[_Outcome]) -> list[_Outcome]:
    listed = []
    for outcome in outcomes:
        listed.append(outcome)
        if len(listed) > _MOST_OUTCOMES:
            raise _Unclear(f"there are more than {_MOST_OUTCOMES} ways to fit")
    return listed


def _evaluated(node: Node, kind: str) -> dict[str, Any]:
    schema = node.schema
    if kind == "object":
        if "additionalProperties" in schema:
            return {"everything": True}
        return {
            "names": frozenset(schema.get("properties", ())),
            "patterns": frozenset(schema.get("patternProperties", ())),
        }
    items = schema.get("items")
    if node.draft == "2020-12":
        containing = frozenset([Schema(node.child(schema["contains"]))] if "contains" in schema else [])
        prefix = len(schema.get("prefixItems", ()))
        return {"everything": "items" in schema, "prefix": prefix, "containing": containing}
    if "contains" in schema:
        raise _Unclear("validators of 2019-09 differ on what `contains` evaluates")
    tuple_form = isinstance(items, list)
    whole = ("items" in schema and not tuple_form) or (tuple_form and "additionalItems" in schema)
    return {"everything": whole, "prefix": len(items) if tuple_form else 0}


def _applied(node: Node, kind: str) -> Iterator[list[_Outcome]]:
    """For each applicator in place: the ways in which it can hold."""
    schema = node.schema
    for target in node.targets():
        yield _outcomes(target, kind)
    for branch in schema.get("allOf", ()):
        yield _outcomes(node.child(branch), kind)
    if "anyOf" in schema:
        yield _any_of([node.child(branch) for branch in schema["anyOf"]], kind)
    if "oneOf" in schema:
        yield _one_of([node.child(branch) for branch in schema["oneOf"]], kind)
    if "if" in schema:
        yield _conditional(node, kind)
    if kind == "object":
        for name, branch in schema.get("dependentSchemas", {}).items():
            there = _Outcome(Has(name))
            applied = [there.joined(one) for one in _outcomes(node.child(branch), kind)]
            yield [_Outcome(Has(name, False)), *applied]


def _any_of(branches: list[Node], kind: str) -> list[_Outcome]:
    # Each branch that holds evaluates, not only the first: so each is decided.
    found = [_Outcome(TRUE)]
    for branch in branches:
        decided = [_Outcome(Schema(branch, False)), *_outcomes(branch, kind)]
        found = _few(one.joined(other) for one, other in product(found, decided))
    none = _Outcome(both(Schema(branch, False) for branch in branches))
    return [one for one in found if one.formula != none.formula]


def _one_of(branches: list[Node], kind: str) -> list[_Outcome]:
    found = []
    for index, branch in enumerate(branches):
        others = _Outcome(both(Schema(one, False) for other, one in enumerate(branches) if other != index))
        found += [others.joined(one) for one in _outcomes(branch, kind)]
    return _few(found)


def _conditional(node: Node, kind: str) -> list[_Outcome]:
    schema = node.schema
    test = node.child(schema["if"])
    then = _outcomes(node.child(schema["then"]), kind) if "then" in schema else [_Outcome(TRUE)]
    other = _outcomes(node.child(schema["else"]), kind) if "else" in schema else [_Outcome(TRUE)]
    yes = [one.joined(two) for one, two in product(_outcomes(test, kind), then)]
    no = [_Outcome(Schema(test, False)).joined(one) for one in other]
    return _few([*yes, *no])
