"""How much work a validator may have with a value: some schemas make a small value cost for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contracts.compatibility.budget import Budget, OutOfBudget
from contracts.compatibility.node import Node
from contracts.subschemas import children

__all__ = ["affordable"]

_IN_PLACE = frozenset(
    {"allOf", "anyOf", "dependencies", "dependentSchemas", "else", "if", "not", "oneOf", "then"}
)
_OF_EACH = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "items",
        "patternProperties",
        "prefixItems",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_MOST = 30_000


def affordable(root: Node, value: Any) -> bool:
    """Whether every subschema can be applied to every part of the value in a bounded number of steps.

    Nothing is left out because something else failed, so that it is an upper bound for any validator.
    """
    budget = Budget(_MOST, float("inf"))
    waiting: list[tuple[Node, Any]] = [(root, value)]
    try:
        while waiting:
            node, found = waiting.pop()
            budget.spend()
            if isinstance(node.schema, dict):
                waiting += _steps(node, found)
    except OutOfBudget:
        return False
    return True


def _steps(node: Node, value: Any) -> Iterator[tuple[Node, Any]]:
    yield from ((target, value) for target in node.targets())
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    for place, schema in children(node.schema):
        keyword, *names = place.split("/")[1:]
        child = node.child(schema)
        if keyword in _IN_PLACE:
            yield child, value
        elif keyword == "propertyNames" and isinstance(value, dict):
            yield from ((child, name) for name in value)
        elif keyword in _OF_EACH:
            yield from ((child, part) for part in parts)
        elif keyword == "properties" and isinstance(value, dict):
            name = names[0].replace("~1", "/").replace("~0", "~")
            if name in value:
                yield child, value[name]
