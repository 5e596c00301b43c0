"""Where a path leads in a contract: the schema of what is there, as far as keywords say it.

What is reached is described by references into the contracts, so that nothing is copied and a recursive
schema is no trouble. It may be wider than what is really there (``if``, ``not`` and the like are passed
over, and then it is not ``exact``), never narrower.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any
from urllib.parse import quote, unquote, urljoin

from contracts.subschemas import pointer

__all__ = ["ANYTHING", "Library", "Shape"]

_NARROWING = frozenset({"$dynamicRef", "const", "dependentSchemas", "enum", "if", "not"})
_IN_PLACE = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_DEEPEST = 24
Resources = dict[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a value: its schema, and whether all that is known of it is in there."""

    schema: Any
    exact: bool = True


ANYTHING = Shape(True)


class Library:
    """The schemas that references may lead to, by URI; it grows as a check puts its own in."""

    def __init__(self, resources: Mapping[str, Mapping[str, Any]]) -> None:
        self.resources: Resources = dict(resources)

    def add(self, uri: str, schema: Mapping[str, Any]) -> Shape:
        """Put a schema in; returns a reference to it."""
        self.resources[uri] = schema
        return self.whole(uri)

    def whole(self, uri: str) -> Shape:
        """The value that a schema is about."""
        return Shape({"$ref": uri})

    def inside(self, shape: Shape, name: str) -> Shape | None:
        """What is in an object's property or at an array's index; None when nothing can be there."""
        reached = self._reach(shape.schema, "", "", name, _DEEPEST)
        if reached.never:
            return None
        schemas = [one for one in reached.schemas if one is not True]
        schema = True if not schemas else schemas[0] if len(schemas) == 1 else {"allOf": schemas}
        return Shape(schema, shape.exact and reached.exact)

    def _reach(self, schema: Any, uri: str, at: str, name: str, depth: int) -> _Reached:
        if schema is False:
            return _Reached((), never=True)
        if not isinstance(schema, Mapping) or depth == 0:
            return _Reached((), exact=depth > 0)
        found = [_own(schema, uri, at, name)]
        if isinstance(schema.get("$ref"), str):
            found.append(self._follow(schema["$ref"], uri, name, depth))
        for index, one in enumerate(schema.get("allOf", ())):
            found.append(self._reach(one, uri, f"{at}/allOf/{index}", name, depth - 1))
        for keyword in ("anyOf", "oneOf"):
            if isinstance(schema.get(keyword), list):
                ways = [
                    self._reach(one, uri, f"{at}/{keyword}/{index}", name, depth - 1)
                    for index, one in enumerate(schema[keyword])
                ]
                found.append(_one_of(ways))
        return reduce(_both, found)

    def _follow(self, reference: str, uri: str, name: str, depth: int) -> _Reached:
        # urljoin knows no fragments of URNs.
        full = uri + reference if reference.startswith("#") else urljoin(uri, reference)
        target, _, fragment = full.partition("#")
        found: Any = self.resources.get(target)
        for token in _tokens(unquote(fragment)):
            found = _child(found, token)
        if found is None:
            return _Reached((), exact=False)
        return self._reach(found, target, unquote(fragment), name, depth - 1)


@dataclass(frozen=True, slots=True)
class _Reached:
    schemas: tuple[Any, ...]
    never: bool = False
    exact: bool = True


def _both(one: _Reached, other: _Reached) -> _Reached:
    return _Reached((*one.schemas, *other.schemas), one.never or other.never, one.exact and other.exact)


def _one_of(ways: list[_Reached]) -> _Reached:
    open_ways = [way for way in ways if not way.never]
    if not open_ways:
        return _Reached((), never=True)
    exact = all(way.exact for way in open_ways)
    if not all(way.schemas for way in open_ways):
        return _Reached((), exact=exact)
    each = [way.schemas[0] if len(way.schemas) == 1 else {"allOf": [*way.schemas]} for way in open_ways]
    return _Reached((each[0] if len(each) == 1 else {"anyOf": each},), exact=exact)


def _own(schema: Mapping[str, Any], uri: str, at: str, name: str) -> _Reached:
    """What the keywords beside each other say of it."""
    exact = not _NARROWING & schema.keys()
    types = schema.get("type", ["object", "array"])
    types = [types] if isinstance(types, str) else types
    index = int(name) if name.isdigit() else None
    if "object" not in types and (index is None or "array" not in types):
        return _Reached((), never=True, exact=exact)
    if index is not None and "object" not in types:
        return _reached(_item(schema, index), uri, at, exact)
    return _reached(_property(schema, name), uri, at, exact)


def _reached(places: Iterator[tuple[str, Any]], uri: str, at: str, exact: bool) -> _Reached:
    found = list(places)
    if any(schema is False for _, schema in found):
        return _Reached((), never=True, exact=exact)
    return _Reached(tuple(_reference(schema, uri, at + inner) for inner, schema in found), exact=exact)


def _reference(schema: Any, uri: str, at: str) -> Any:
    # A shape of our own is no part of a document, and stands for itself.
    return {"$ref": f"{uri}#{quote(at, safe='/~!$&()*+,;=:@')}"} if uri else schema


def _property(schema: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    known = False
    if name in schema.get("properties", {}):
        known = True
        yield pointer("properties", name), schema["properties"][name]
    for pattern, one in schema.get("patternProperties", {}).items():
        if _matches(pattern, name):
            known = True
            yield pointer("patternProperties", pattern), one
    for keyword in () if known else ("additionalProperties", "unevaluatedProperties"):
        # What is unevaluated is known only where nothing beside it could have evaluated it.
        if schema.get(keyword, True) is not True and (keyword[0] == "a" or not _IN_PLACE & schema.keys()):
            yield f"/{keyword}", schema[keyword]


def _item(schema: Mapping[str, Any], index: int) -> Iterator[tuple[str, Any]]:
    if schema.get("maxItems", index + 1) <= index:
        yield "", False
    first = schema.get("prefixItems", [])
    if index < len(first):
        yield pointer("prefixItems", index), first[index]
    elif schema.get("items", True) is not True:
        yield "/items", schema["items"]


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return True


def _tokens(fragment: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in fragment.split("/")[1:]]


def _child(schema: Any, token: str) -> Any:
    if isinstance(schema, Mapping):
        return schema.get(token)
    if isinstance(schema, list) and token.isdigit() and int(token) < len(schema):
        return schema[int(token)]
    return None
