"""One schema in its document: its draft, where its references lead, and what makes it equal to another."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry, Specification
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT7, DRAFT201909, DRAFT202012

from contracts.compatibility.budget import Budget
from contracts.subschemas import children, subschemas

__all__ = ["DRAFTS", "Document", "Node", "NotUnderstood", "canonical", "draft_of"]

DRAFTS: dict[str, Specification[Any]] = {"7": DRAFT7, "2019-09": DRAFT201909, "2020-12": DRAFT202012}
_OLD = "http://json-schema.org/draft-0"
_NAMED = {
    "http://json-schema.org/draft-04/schema": "4",
    "http://json-schema.org/draft-06/schema": "6",
    "http://json-schema.org/draft-07/schema": "7",
    "https://json-schema.org/draft/2019-09/schema": "2019-09",
    "https://json-schema.org/draft/2020-12/schema": "2020-12",
}
# What decides validity; everything else is annotation. ``format`` is here: it is asserted.
_MEANING = frozenset(
    [
        "$dynamicRef",
        "$recursiveRef",
        "$ref",
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "if",
        "items",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "oneOf",
        "pattern",
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "required",
        "then",
        "type",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    ]
)
# What the drafts read differently.
_BY_DRAFT = frozenset(
    [
        "$dynamicRef",
        "$recursiveRef",
        "$ref",
        "additionalItems",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "dependentRequired",
        "dependentSchemas",
        "format",
        "items",
        "maxContains",
        "minContains",
        "prefixItems",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
_REFERENCES = {
    "7": ("$ref",),
    "2019-09": ("$ref", "$recursiveRef"),
    "2020-12": ("$ref", "$dynamicRef"),
}
_ALL_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
# What makes such a reference lead to the outermost schema that has one.
_ANCHORS = {"$dynamicRef": "$dynamicAnchor", "$recursiveRef": "$recursiveAnchor"}
_UNORDERED = frozenset({"allOf", "anyOf", "enum", "oneOf", "required", "type"})


class NotUnderstood(Exception):
    """Raised inside a comparison for what it can't work with; it never leaves ``compare``."""


def canonical(value: Any) -> str:
    """A JSON value's one text: 1.0 is 1, keys are sorted. Raises NotUnderstood."""
    try:
        return jsonschema_rs.canonical.json.to_string(value)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"a value in it is no JSON: {error}") from error


def draft_of(schema: Any, otherwise: str | None = None) -> str:
    """The draft of a schema: ``$schema`` says, else what it looks like. Raises NotUnderstood."""
    named = schema.get("$schema") if isinstance(schema, dict) else None
    if named is None:
        return otherwise or _looks_like(schema)
    draft = _NAMED.get(str(named).rstrip("#").replace("https://json-schema.org/draft-0", _OLD))
    if draft is None:
        raise NotUnderstood(
            f"$schema {str(named)[:80]!r} is not one of the drafts 4, 6, 7, 2019-09 and 2020-12"
        )
    return draft


def _looks_like(schema: Any) -> str:
    """The draft of a schema that names none: 2020-12, unless its form is only valid in an older one."""
    waiting, looks = [schema], "2020-12"
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            if isinstance(found.get("exclusiveMinimum", found.get("exclusiveMaximum")), bool):
                return "4"
            # A list of items is the tuple form of old.
            looks = "7" if isinstance(found.get("items"), list) else looks
            # Only schemas: an example whose "items" are a list is data.
            waiting.extend(one for _, one in children(found))
    return looks


class Document:
    """A schema as it came in, with what its references may lead to. Nothing is fetched."""

    def __init__(self, schema: Any, draft: str, resources: Mapping[str, Any], budget: Budget) -> None:
        self.draft = draft
        self.budget = budget
        specification = DRAFTS[draft]
        root = schema.get("$id", "") if isinstance(schema, dict) else ""
        # Schemas of old end their own id with an empty fragment; none is part of a base (RFC 3986 §5.1).
        base = (root.rstrip("#") if isinstance(root, str) else "") or "urn:antiphon:compared"
        known: Registry[Any] = REGISTRY
        others = ((uri, specification.create_resource(one)) for uri, one in resources.items())
        known = known.with_resources(others).with_resource(base, specification.create_resource(schema))
        self._all = [schema, *resources.values()]
        self._anchors: Counter[tuple[str, str]] | None = None
        self._nodes: dict[int, Node] = {}
        self._keep: list[Any] = []
        self.root = self.node(schema, known.resolver(base_uri=base))

    def node(self, schema: Any, resolver: Any) -> Node:
        """The node of a schema that was reached with this resolver."""
        if isinstance(schema, bool):
            return Node(self, schema, resolver)
        found = self._nodes.get(id(schema))
        if found is None:
            found = self._nodes[id(schema)] = Node(self, schema, resolver)
            self._keep.append(schema)
        return found

    def refuse_several(self, keyword: str, reference: str) -> None:
        """Raises NotUnderstood where such a reference may lead elsewhere for each way to it."""
        name = reference.partition("#")[2]
        if self._anchors is None:
            parts = [part for one in self._all for _, part in subschemas(one) if isinstance(part, dict)]
            self._anchors = Counter(
                (one, str(part[one]) if one == "$dynamicAnchor" else "")
                for part in parts
                for one in _ANCHORS.values()
                if part.get(one)
            )
        if self._anchors[keyword, name] > 1 and self._all[0].get(keyword) != name:
            raise NotUnderstood(f"where {reference} leads depends on the way to it ({keyword})")

    def enter(self, schema: Any, resolver: Any) -> Any:
        """The resolver inside a schema, that may have an ``$id`` of its own."""
        if isinstance(schema, dict) and "$id" in schema:
            return resolver.in_subresource(DRAFTS[self.draft].create_resource(schema))
        return resolver


class Node:
    """A schema in its place. Two are equal when they, and what they refer to, say the same."""

    __slots__ = ("_fingerprint", "document", "resolver", "schema")

    def __init__(self, document: Document, schema: Any, resolver: Any) -> None:
        self.document = document
        self.schema: Any = schema
        self.resolver = resolver
        self._fingerprint: str | None = None

    @property
    def draft(self) -> str:
        """The draft it is written in."""
        return self.document.draft

    def child(self, schema: Any) -> Node:
        """The node of a schema directly inside this one."""
        return self.document.node(schema, self.document.enter(schema, self.resolver))

    def target(self, reference: str) -> Node:
        """Where a reference leads. Raises NotUnderstood when it leads nowhere."""
        try:
            found = self.resolver.lookup(reference)
        except (Unresolvable, ValueError, LookupError, TypeError, AttributeError) as error:
            raise NotUnderstood(
                f"the reference {reference[:120]} leads nowhere, and nothing is fetched"
            ) from error
        if not isinstance(found.contents, dict | bool):
            raise NotUnderstood(f"the reference {reference[:120]} leads to something that is no schema")
        return self.document.node(found.contents, self.document.enter(found.contents, found.resolver))

    def targets(self) -> Iterator[Node]:
        """Where the references directly in it lead. Raises NotUnderstood."""
        for keyword in _REFERENCES[self.draft] if isinstance(self.schema, dict) else ():
            if isinstance(self.schema.get(keyword), str):
                if keyword != "$ref":
                    self.document.refuse_several(_ANCHORS[keyword], self.schema[keyword])
                yield self.target(self.schema[keyword])

    @property
    def fingerprint(self) -> str:
        """The same for schemas that say the same in the same words."""
        if self._fingerprint is None:
            self._fingerprint = hashlib.sha256(_words(self).encode()).hexdigest()
        return self._fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Node) and self.fingerprint == other.fingerprint)

    def __repr__(self) -> str:
        return f"Node({json.dumps(self.schema)[:60]})"


def _words(node: Node) -> str:
    """The node's text and that of all it refers to; a reference is its target's number, as met."""
    numbers: dict[int, int] = {}
    waiting: list[Node] = [node]
    texts: list[Any] = []

    def number(target: Node) -> int:
        if id(target.schema) not in numbers:
            numbers[id(target.schema)] = len(numbers)
            waiting.append(target)
        return numbers[id(target.schema)]

    while waiting:
        texts.append(_text(waiting.pop(0), number))
    return canonical(texts)


def _text(node: Node, number: Any) -> Any:
    node.document.budget.spend()
    schema = node.schema
    if not isinstance(schema, dict):
        return schema
    inside = {id(one) for _, one in children(schema) if isinstance(one, dict | bool)}

    def shown(value: Any) -> Any:
        if isinstance(value, dict | bool) and id(value) in inside and isinstance(value, dict):
            return _text(node.child(value), number)
        return value

    text: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword not in _MEANING:
            continue
        if keyword in _BY_DRAFT and (keyword != "items" or isinstance(value, list)):
            text["draft"] = node.draft
        if keyword in _ALL_REFERENCES:
            if keyword in _REFERENCES[node.draft] and isinstance(value, str):
                text[keyword] = number(node.target(value))
        elif isinstance(value, dict) and id(value) not in inside:
            text[keyword] = {name: shown(one) for name, one in value.items()}
        elif isinstance(value, list):
            listed = [shown(one) for one in value]
            text[keyword] = sorted(listed, key=canonical) if keyword in _UNORDERED else listed
        else:
            text[keyword] = shown(value)
    return text
