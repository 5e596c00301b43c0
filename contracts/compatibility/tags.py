"""Alternatives that exclude each other by what they list: "exactly one" is then "at least one"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from contracts.compatibility.node import Node, canonical

__all__ = ["exclusive"]


def exclusive(branches: list[Node], kind_of: Callable[[Any], str], kind: str) -> bool:
    """Whether no value of that kind fits two of the schemas, as far as can be seen at a glance.

    They list values (``const``, ``enum``), or do so for one property that all of them require: the usual tag.
    """
    shown = [_shown(branch) for branch in branches]
    if _apart([_values(one, kind_of, kind) for one in shown]):
        return True
    if kind != "object" or not all(isinstance(one.schema, dict) for one in shown):
        return False
    names = set.intersection(*({*one.schema.get("required", ())} for one in shown)) if shown else set()
    return any(_apart([_tag(one, name) for one in shown]) for name in sorted(names))


def _shown(node: Node) -> Node:
    """The schema behind references that have no siblings."""
    for _ in range(8):
        schema = node.schema
        found = [*node.targets()]
        if len(found) != 1 or (len(schema) > 1 and node.draft != "7"):
            break
        node = found[0]
    return node


def _listed(schema: Any) -> list[Any] | None:
    if isinstance(schema, dict):
        if "const" in schema:
            return [schema["const"]]
        if "enum" in schema:
            return list(schema["enum"])
    return None


def _values(node: Node, kind_of: Callable[[Any], str], kind: str) -> frozenset[str] | None:
    if _hidden(node):
        return None
    found = _listed(node.schema)
    return None if found is None else frozenset(canonical(one) for one in found if kind_of(one) == kind)


def _tag(node: Node, name: str) -> frozenset[str] | None:
    properties = node.schema.get("properties", {})
    if _hidden(node) or name not in properties:
        return None
    tag = _shown(node.child(properties[name]))
    found = None if _hidden(tag) else _listed(tag.schema)
    return None if found is None else frozenset(map(canonical, found))


def _hidden(node: Node) -> bool:
    """Whether a reference hides its siblings, as in draft 7."""
    return not isinstance(node.schema, dict) or (node.draft == "7" and "$ref" in node.schema)


def _apart(sets: Iterable[frozenset[str] | None]) -> bool:
    seen: set[str] = set()
    for values in sets:
        if values is None or values & seen:
            return False
        seen |= values
    return True
