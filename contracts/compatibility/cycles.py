"""Schemas that refer to themselves without going a level deeper: no search of them would end."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.compatibility.node import Node, NotUnderstood
from contracts.subschemas import children

__all__ = ["refuse_cycles"]

_IN_PLACE = frozenset(
    {"allOf", "anyOf", "dependencies", "dependentSchemas", "else", "if", "not", "oneOf", "then"}
)


def refuse_cycles(root: Node) -> None:
    """Goes through everything that a schema reaches.

    Raises NotUnderstood for a cycle, and for a reference that leads nowhere; OutOfBudget.
    """
    reached: dict[Node | int, None] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node.schema) in reached or not isinstance(node.schema, dict):
            continue
        reached[id(node.schema)] = None
        node.document.budget.spend()
        _refuse_from(node)
        waiting += _inside(node)


def _inside(node: Node) -> Iterator[Node]:
    yield from node.targets()
    yield from (node.child(schema) for place, schema in children(node.schema) if _speaks(node, place))


def _in_place(node: Node) -> Iterator[Node]:
    if not isinstance(node.schema, dict):
        return
    yield from node.targets()
    if node.draft == "7" and "$ref" in node.schema:
        return
    for place, schema in children(node.schema):
        if place.split("/")[1] in _IN_PLACE:
            yield node.child(schema)


def _speaks(node: Node, place: str) -> bool:
    """Definitions say something only where they are referred to."""
    ignored = node.draft == "7" and "$ref" in node.schema
    return not ignored and place.split("/")[1] not in ("$defs", "definitions")


def _refuse_from(start: Node) -> None:
    path: list[tuple[Node, Iterator[Node]]] = [(start, _in_place(start))]
    seen: set[int] = set()
    while path:
        following = next(path[-1][1], None)
        if following is None:
            path.pop()
            continue
        following.document.budget.spend()
        if following.schema is start.schema:
            raise NotUnderstood("a schema refers to itself without going a level deeper")
        if isinstance(following.schema, dict) and id(following.schema) not in seen:
            seen.add(id(following.schema))
            path.append((following, _in_place(following)))
