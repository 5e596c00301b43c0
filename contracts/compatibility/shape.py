"""A schema as Confluent's rules see it: one type, a list of values, a negation, or a combination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Shape", "shape_of"]

_BY_KEYWORD = {
    "object": [
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "minProperties",
        "maxProperties",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "propertyNames",
    ],
    "array": ["items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains"],
    "string": ["minLength", "maxLength", "pattern", "format"],
    "number": ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
}
_COMBINED = ("allOf", "anyOf", "oneOf")
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Shape:
    """``kind`` is a JSON type, ``empty``, ``false``, ``enum``, ``const``, ``not`` or ``combined``.

    A combination has its ``criterion`` (``allOf``, ``anyOf``, ``oneOf``) and its ``members``.
    """

    kind: str
    schema: Mapping[str, Any]
    criterion: str = ""
    members: tuple[Any, ...] = ()


def shape_of(schema: Any, root: Any, depth: int = 0) -> Shape:
    """The shape of a schema; local references are followed in ``root``."""
    if schema is False:
        return Shape("false", {})
    if not isinstance(schema, Mapping):
        return Shape("empty", {})
    reference = schema.get("$ref")
    if isinstance(reference, str) and depth < _DEEPEST:
        return shape_of(_resolved(reference, root), root, depth + 1)
    parts = _parts(schema)
    if not parts:
        return Shape("empty", schema)
    return parts[0] if len(parts) == 1 else Shape("combined", schema, "allOf", tuple(parts))


def _resolved(reference: str, root: Any) -> Any:
    found = root
    if reference not in ("#", ""):
        for token in reference.removeprefix("#/").split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
    return True if found is None else found


def _parts(schema: Mapping[str, Any]) -> list[Shape]:
    parts: list[Shape] = []
    types = schema.get("type")
    if isinstance(types, list):
        own = {
            keyword: value for keyword, value in schema.items() if keyword not in ("type", "enum", *_COMBINED)
        }
        parts.append(Shape("combined", schema, "anyOf", tuple({**own, "type": one} for one in types)))
    elif isinstance(types, str):
        parts.append(Shape("number" if types == "integer" else types, schema))
    else:
        inferred = next(
            (k for k, words in _BY_KEYWORD.items() if any(word in schema for word in words)), None
        )
        parts += [Shape(inferred, schema)] if inferred else []
    parts += [Shape(keyword, schema) for keyword in ("enum", "const", "not") if keyword in schema]
    parts += [
        Shape("combined", schema, criterion, tuple(schema[criterion]))
        for criterion in _COMBINED
        if isinstance(schema.get(criterion), list)
    ]
    return parts
