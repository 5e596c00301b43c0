"""What a schema may be made of, looked at before anything that recurses or compiles sees it.

Schemas come from files, model classes and other people's repositories. A validator in native code that is
handed one nested a hundred thousand deep takes the process with it, so that the limits are checked here
first, without recursion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from referencing.jsonschema import DRAFT202012

from contracts.errors import ConfigurationError
from contracts.judge import fits
from contracts.subschemas import children, pointer, subschemas

__all__ = ["DEEPEST", "LARGEST", "MOST_APPLIED", "check_effort", "check_form", "check_uri", "check_uris"]

DEEPEST = 100
"""Levels of JSON, one in another: half of it for ``properties``, which takes two a level."""
LARGEST = 100_000
"""Values in one schema, every member and element counted."""
MOST_APPLIED = 5_000
"""Subschemas that one place of the data may be judged by, references followed."""

_BITS = 3_322  # a thousand decimal digits
_IN_PLACE = frozenset({"allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"})
_URIS = ("$id", "$schema", "$ref", "$dynamicRef")

# A place is kept as a chain to its parent and made into a pointer only for an error: as text, a schema that
# is one long chain would need memory of its depth squared.
_Place = tuple[Any, ...]


def check_form(schema: Mapping[str, Any], where: str) -> None:
    """Raises ConfigurationError, saying where, for what is no JSON, nested too deep or too large.

    JSON is dict with text as keys, list or tuple, text in Unicode scalar values, int of at most a thousand
    digits, finite float, bool and None.
    """
    waiting: list[tuple[Any, _Place, int]] = [(dict(schema), (), 0)]
    seen = 0
    while waiting:
        value, place, depth = waiting.pop()
        seen += 1
        if seen > LARGEST:
            raise ConfigurationError(
                f"{where}: a schema of more than {LARGEST:,} values; split it into several, and refer to them"
            )
        if depth > DEEPEST:
            raise ConfigurationError(
                f"{where} at {_pointer(place, shown=6)}…: nested more than {DEEPEST} levels deep; "
                "move what is inside into $defs and refer to it"
            )
        _check_value(value, where, place)
        inside = value.items() if isinstance(value, dict) else enumerate(value) if _is_list(value) else ()
        waiting.extend((one, (place, name), depth + 1) for name, one in inside)


def check_uris(schema: Mapping[str, Any], where: str) -> None:
    """Raises ConfigurationError for a ``$id`` or reference that is no URI reference (RFC 3986 §4.1)."""
    for place, found in subschemas(schema):
        for keyword in _URIS if isinstance(found, dict) else ():
            if isinstance(found.get(keyword), str):
                check_uri(found[keyword], f"{where} at {place}/{keyword}")


def check_uri(text: str, where: str) -> None:
    """Raises ConfigurationError for what is no URI reference (RFC 3986 §4.1), to either of our readers."""
    try:
        urlsplit(text)
        good = fits("format", "uri-reference", text)
    except ValueError:
        good = False
    if not good:
        shown = text.encode("ascii", "backslashreplace").decode()[:100]
        raise ConfigurationError(f"{where}: {shown!r} is no URI; correct it there")


def check_effort(schema: Mapping[str, Any], resolver: Any, where: str) -> None:
    """Raises ConfigurationError where one value would be judged by too many subschemas, or for ever.

    Twenty definitions that each refer twice to the next are a million judgements of one value. References
    must have been checked; ``resolver`` is referencing's, for the schema's own base.
    """
    known: dict[int, int] = {}
    waiting: list[tuple[str, Any, Any]] = [("", schema, resolver)]
    while waiting:
        place, found, here = waiting.pop()
        if not isinstance(found, dict):
            continue
        _applied(found, here, known, f"{where} at {place or '/'}")
        waiting += [(f"{place}{at}", one, _inside(one, here)) for at, one in children(found)]


def _applied(start: dict[str, Any], resolver: Any, known: dict[int, int], where: str) -> None:
    """Counts into ``known``, by identity, how many subschemas each schema from here applies in place."""
    path: list[tuple[dict[str, Any], Iterator[tuple[Any, Any]]]] = []
    open_: set[int] = set()

    def enter(schema: dict[str, Any], here: Any) -> None:
        known[id(schema)] = 1
        open_.add(id(schema))
        path.append((schema, _in_place(schema, here)))

    if id(start) not in known:
        enter(start, resolver)
    while path:
        schema, rest = path[-1]
        following = next(rest, None)
        if following is None:
            path.pop()
            open_.discard(id(schema))
            if path:
                known[id(path[-1][0])] += known[id(schema)]
            continue
        target, here = following
        if id(target) in open_:
            raise ConfigurationError(
                f"{where}: the schema refers to itself without going a level deeper into the data; "
                "take that reference out"
            )
        if id(target) in known:
            known[id(schema)] += known[id(target)]
        else:
            enter(target, here)
        if known[id(schema)] > MOST_APPLIED:
            break
    if known[id(start)] > MOST_APPLIED or path:
        raise ConfigurationError(
            f"{where}: with its references followed, one value would be judged by more than {MOST_APPLIED:,} "
            "subschemas; refer to each definition once"
        )


def _in_place(schema: dict[str, Any], resolver: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """The schemas that judge the same value as this one, each with the resolver for its references."""
    for keyword in ("$ref", "$dynamicRef"):
        if isinstance(schema.get(keyword), str):
            resolved = resolver.lookup(schema[keyword])
            if isinstance(resolved.contents, dict):
                yield resolved.contents, resolved.resolver
    for place, one in children(schema):
        if place.split("/")[1] in _IN_PLACE and isinstance(one, dict):
            yield one, _inside(one, resolver)


def _inside(schema: Any, resolver: Any) -> Any:
    if isinstance(schema, dict) and isinstance(schema.get("$id"), str):
        return resolver.in_subresource(DRAFT202012.create_resource(schema))
    return resolver


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _check_value(value: Any, where: str, place: _Place) -> None:
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise _no_json(where, place, f"the key {name!r:.40} is no text")
            _check_text(name, where, place)
    elif isinstance(value, str):
        _check_text(value, where, place)
    elif isinstance(value, int):
        if value.bit_length() > _BITS:
            raise _no_json(where, place, "a number of more than a thousand digits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _no_json(where, place, f"{value} is no number in JSON")
    elif value is not None and not _is_list(value):
        raise _no_json(where, place, f"a {type(value).__name__} is no JSON")


def _check_text(text: str, where: str, place: _Place) -> None:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _no_json(where, place, f"{text!a:.60} holds half a character (a lone surrogate)")


def _no_json(where: str, place: _Place, what: str) -> ConfigurationError:
    return ConfigurationError(f"{where} at {_pointer(place)}: {what}; a schema is JSON, correct it there")


def _pointer(place: _Place, shown: int | None = None) -> str:
    tokens: list[str | int] = []
    while place:
        place, token = place
        tokens.append(token)
    text = pointer(*tokens[::-1][:shown]) or "/"
    return text.encode("ascii", "backslashreplace").decode()
