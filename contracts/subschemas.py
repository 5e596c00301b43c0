"""Where one JSON Schema holds others, and the pointers to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["children", "escape", "pointer", "subschemas"]

# Keywords by the shape of their value: those of 2020-12, with the names of drafts 7 and 2019-09.
_ONE = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_MANY = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
_NAMED = frozenset(
    {"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)


def escape(token: str | int) -> str:
    """One token of a JSON Pointer (RFC 6901 §3)."""
    return str(token).replace("~", "~0").replace("/", "~1")


def pointer(*tokens: str | int) -> str:
    """A JSON Pointer of its tokens; the empty string is the whole document."""
    return "".join(f"/{escape(token)}" for token in tokens)


def subschemas(schema: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """The schema itself and each one inside it, with JSON Pointers, outermost first.

    Goes where the keywords go: a ``$ref`` inside an ``example`` or a ``const`` is data, not a reference.
    """
    waiting: list[tuple[str, Any]] = [(at, schema)]
    while waiting:
        place, found = waiting.pop()
        yield place, found
        if isinstance(found, Mapping):
            waiting.extend(reversed(list(children(found, place))))


def children(schema: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """The schemas directly inside one, with JSON Pointers."""
    for keyword, value in schema.items():
        place = f"{at}/{escape(keyword)}"
        if keyword in _ONE and isinstance(value, Mapping | bool):
            yield place, value
        elif keyword in _MANY and isinstance(value, list):
            yield from ((f"{place}/{index}", one) for index, one in enumerate(value))
        elif keyword in _NAMED and isinstance(value, Mapping):
            # ``dependencies`` of draft 7 mixes schemas with lists of names.
            yield from (
                (f"{place}/{escape(name)}", one)
                for name, one in value.items()
                if isinstance(one, Mapping | bool)
            )
