"""What a schema wants, in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["expectation"]

_TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}
_FORMATS = {
    "date": "a date such as 2026-01-31",
    "date-time": "a date-time with its offset (RFC 3339) such as 2026-01-31T09:30:00Z",
    "duration": "a duration (ISO 8601) such as PT30S",
    "email": "an email address",
    "hostname": "a host name",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "time": "a time with its offset (RFC 3339) such as 09:30:00Z",
    "uri": "an absolute URI",
    "uuid": "a UUID",
}


def _count(number: Any, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _choice(values: Iterable[str], word: str = "or") -> str:
    listed = list(values)
    if len(listed) > 12:
        listed = [*listed[:12], "…"]
    return (
        listed[0]
        if len(listed) == 1
        else f"{', '.join(listed[:-1])} {word} {listed[-1]}"
        if listed
        else "nothing"
    )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _types(value: Any) -> str:
    names = [value] if isinstance(value, str) else value
    return _choice(_TYPES.get(name, str(name)) for name in names)


def _alternatives(branches: Any) -> str:
    return _choice(expectation(branch) for branch in branches)


def _one_of(values: list[Any]) -> str:
    if not values:
        return "no such value"
    return f"one of {_choice(map(_shown, values))}" if len(values) > 1 else _shown(*values)


_WORDS: dict[str, Callable[[Any], str]] = {
    "type": _types,
    "const": _shown,
    "enum": _one_of,
    "format": lambda name: _FORMATS.get(name, f"a string of format {name}"),
    "pattern": lambda pattern: f"a string that matches {pattern}",
    "minLength": lambda n: f"at least {_count(n, 'character', 'characters')}",
    "maxLength": lambda n: f"at most {_count(n, 'character', 'characters')}",
    "minimum": lambda n: f"a number >= {n}",
    "maximum": lambda n: f"a number <= {n}",
    "exclusiveMinimum": lambda n: f"a number > {n}",
    "exclusiveMaximum": lambda n: f"a number < {n}",
    "multipleOf": lambda n: f"a multiple of {n}",
    "minItems": lambda n: f"at least {_count(n, 'item', 'items')}",
    "maxItems": lambda n: f"at most {_count(n, 'item', 'items')}",
    "uniqueItems": lambda _: "items that all differ",
    "contains": lambda schema: f"an item that is {expectation(schema)}",
    "minProperties": lambda n: f"at least {_count(n, 'property', 'properties')}",
    "maxProperties": lambda n: f"at most {_count(n, 'property', 'properties')}",
    "required": lambda names: "an object with " + _choice(map(_shown, names), "and"),
    "anyOf": _alternatives,
    "oneOf": lambda branches: f"exactly one of: {_alternatives(branches)}",
    "not": lambda schema: f"anything but {expectation(schema)}",
}


def expectation(schema: Any, error: Any = None) -> str:
    """What is wanted where the schema applies, in a few words.

    ``error`` is the jsonschema error that is being told, for keywords that say more by it.
    """
    if schema is True or schema == {}:
        return "a value"
    if schema is False or not isinstance(schema, dict):
        return "no such value"
    if error is not None:
        told = _told(error)
        if told:
            return told
    for keyword in ("const", "enum", "format", "pattern", "type", *_WORDS):
        if keyword in schema:
            return _WORDS[keyword](schema[keyword])
    return "a value that fits its contract"


def _told(error: Any) -> str | None:
    if error.validator is None:
        return "no such property here" if error.absolute_path else "no value at all"
    if error.validator == "oneOf" and not error.context:
        return f"exactly one of the {len(error.validator_value)} alternatives, not several at once"
    if error.validator in ("minContains", "maxContains"):
        how = "at least" if error.validator == "minContains" else "at most"
        number = _count(error.validator_value, "item that fits", "items that fit")
        return f"{how} {number}: {expectation(error.schema.get('contains'))}"
    if error.validator == "items":
        return f"at most {_count(len(error.schema.get('prefixItems', ())), 'item', 'items')}"
    if error.validator in ("dependentRequired", "unevaluatedProperties", "unevaluatedItems"):
        return f"what fits {error.validator}: {error.message[:120]}"
    return None
