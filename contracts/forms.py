"""What one contract means to those who write it and to those who read it.

Consumers read open: a property that they do not know is no reason to refuse. Producers write closed: what
they did not declare, they do not send. So an optional property may be added, or taken away, within a major.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import chain
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from contracts.subschemas import children, subschemas

__all__ = ["reader_form", "writer_form"]

# Keywords whose schemas apply to the same value as their parent.
_IN_PLACE = frozenset({"allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"})
# What only tells values apart: closed, it would tell them apart otherwise.
_ASIDE = frozenset({"contains", "if", "not"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
# Where more or less is accepted must not be changed: what is opened there closes the whole.
_TURNED = frozenset({"if", "not", "oneOf"})
_SAYS_REST = ("additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames")
_ALTERNATIVES = {"anyOf": "anyOf", "oneOf": "oneOf", "then": "if", "else": "if"}
_BESIDE = frozenset({"properties", *_SAYS_REST, *_IN_PLACE})
_DEEPEST = 40


def reader_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as its readers understand it: closed objects are open."""
    opened = copy.deepcopy(dict(schema))
    waiting: list[Any] = [opened]
    while waiting:
        found = waiting.pop()
        for keyword in ("additionalProperties", "unevaluatedProperties"):
            if found.get(keyword) is False:
                del found[keyword]
        waiting += [
            one for place, one in children(found) if isinstance(one, dict) and _first(place) not in _TURNED
        ]
    return opened


def writer_form(
    schema: Mapping[str, Any], others: Mapping[str, Any] | None = None, *, uri: str | None = None
) -> dict[str, Any]:
    """The schema as its writers keep to it: objects that say nothing of further properties have none.

    ``others`` are what it may refer to, by URI. With a ``uri`` it is one of those: closed is what it holds,
    not itself, for what extends it has properties of its own.
    """
    closed = copy.deepcopy(dict(schema))
    documents = _Documents(str(closed.get("$id", "")) if uri is None else uri, closed, others or {})
    _close(closed, documents, uri is None, 0)
    return closed


class _Documents:
    """Where references lead, into the document itself or one of the others; and what others add to."""

    def __init__(self, own: str, schema: dict[str, Any], others: Mapping[str, Any]) -> None:
        self._own = own
        self._by_uri = {**others, own: schema}
        self._extended: set[int] = set()
        for uri, one in self._by_uri.items():
            self._note(one, uri, True, 0)

    def target(self, reference: str, base: str | None = None) -> tuple[Any, str] | None:
        """What a reference from a document leads to, and in which; None where that can't be seen."""
        base = self._own if base is None else base
        # Joined by hand where it is inside: there is no joining to a URN.
        inside = reference.startswith("#")
        uri, fragment = (base, reference[1:]) if inside else urldefrag(urljoin(base, reference))
        if uri not in self._by_uri or (fragment and not fragment.startswith("/")):
            return None
        found: Any = self._by_uri[uri]
        for token in unquote(fragment).split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                found = found.get(name) if isinstance(found, Mapping) else None
        return None if found is None else (found, uri)

    def extends(self, schema: Mapping[str, Any]) -> bool:
        """Whether what the schema judges is judged by another one, too, that has properties of its own."""
        return id(schema) in self._extended

    def _note(self, schema: Mapping[str, Any], uri: str, a_value: bool, depth: int) -> None:
        if depth > _DEEPEST:
            return
        reference = schema.get("$ref")
        if isinstance(reference, str) and not (a_value and _BESIDE.isdisjoint(schema)):
            found = self.target(reference, uri)
            self._extended.add(id(found[0] if found else None))
        if a_value:
            self._said(schema, uri, 0)
        for place, one in children(schema):
            if isinstance(one, dict):
                self._note(one, uri, _is_value(place), depth + 1)

    def _said(self, schema: Any, uri: str, depth: int) -> dict[str, list[Any]]:
        """What is said of each property, and of items, by all schemas that judge the same value.

        What several of them say of one is noted: neither is closed, for together they declare more.
        """
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return {}
        parts: list[dict[str, list[Any]]] = [
            {name: [one] for name, one in schema.get("properties", {}).items()},
            {"/items": [schema["items"]]} if "items" in schema else {},
        ]
        if isinstance(schema.get("$ref"), str) and (target := self.target(schema["$ref"], uri)):
            parts.append(self._said(*target, depth + 1))
        alternatives: dict[str, dict[str, list[Any]]] = {}
        for place, one in children(schema):
            keyword = _ALTERNATIVES.get(_first(place), place)
            if _first(place) in _IN_PLACE - _ASIDE:
                for name, ones in self._said(one, uri, depth + 1).items():
                    alternatives.setdefault(keyword, {}).setdefault(name, []).extend(ones)
        parts += alternatives.values()
        said: dict[str, list[list[Any]]] = {}
        for part in parts:
            for name, ones in part.items():
                said.setdefault(name, []).append([one for one in ones if isinstance(one, dict) and one])
        for groups in said.values():
            if sum(map(bool, groups)) > 1:
                self._extended |= {id(one) for whole in chain(*groups) for _, one in subschemas(whole)}
        return {name: [*chain(*groups)] for name, groups in said.items()}


def _first(place: str) -> str:
    return place.split("/")[1]


def _is_value(place: str) -> bool:
    return _first(place) not in _IN_PLACE and _first(place) not in _DEFINITIONS


def _close(schema: dict[str, Any], documents: _Documents, a_value: bool, depth: int) -> None:
    """Closes the schema where it stands for a whole value, and what it holds."""
    if depth > _DEEPEST:
        return
    declares, says_rest = _of_properties(schema, documents, None, 0)
    for place, one in list(children(schema)):
        if isinstance(one, dict) and _first(place) not in _ASIDE:
            _close(one, documents, _is_value(place), depth + 1)
    if a_value and declares and not says_rest and not documents.extends(schema):
        schema["unevaluatedProperties"] = False


def _of_properties(schema: Any, documents: _Documents, base: str | None, depth: int) -> tuple[bool, bool]:
    """Whether a schema, with all in its place, declares properties, and says something of the rest."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return False, False
    declares = "properties" in schema
    says_rest = any(keyword in schema for keyword in _SAYS_REST)
    inside = [(one, base) for place, one in children(schema) if _first(place) in _IN_PLACE - {"not"}]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = documents.target(reference, base)
        # What can't be seen from here is closed there, or is not ours to close.
        says_rest = says_rest or target is None
        inside += [target] if target else []
    for one, its in inside:
        found = _of_properties(one, documents, its, depth + 1)
        declares, says_rest = declares or found[0], says_rest or found[1]
    return declares, says_rest
