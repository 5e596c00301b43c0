"""Why data does not fit a contract, in words: from jsonschema's errors to ours.

``jsonschema`` finds the places; what it would judge differently from the hot path (patterns, formats,
multiples of a fraction) it asks the hot path about, so that both always agree on what is wrong.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry as Resources

from contracts.errors import Violation
from contracts.judge import Judge, fits
from contracts.subschemas import escape, pointer
from contracts.wording import expectation

__all__ = ["explain", "explainer", "shorten"]

_MOST = 20
_WIDTH = 80


def _leaf(keyword: str, kind: type | tuple[type, ...]) -> Any:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if (
            isinstance(instance, kind)
            and not isinstance(instance, bool)
            and not fits(keyword, value, instance)
        ):
            yield ValidationError(f"does not fit {keyword} {value!r}")

    return check


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if fits("pattern", pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, subschema: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    for name, value in instance.items():
        if name not in known and not any(fits("pattern", pattern, name) for pattern in patterns):
            yield from validator.descend(value, subschema, path=name)


_Explainer: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _leaf("pattern", str),
        "format": _leaf("format", str),
        "multipleOf": _leaf("multipleOf", (int, float)),
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    },
)


_descend = _Explainer.descend


def _descend_with_place(
    self: Any, instance: Any, schema: Any, path: Any = None, schema_path: Any = None, resolver: Any = None
) -> Iterator[ValidationError]:
    # jsonschema leaves the place out where the subschema is ``false``.
    for error in _descend(self, instance, schema, path=path, schema_path=schema_path, resolver=resolver):
        if schema is False:
            error.relative_path.extendleft([] if path is None else [path])
            error.relative_schema_path.extendleft([] if schema_path is None else [schema_path])
        yield error


_Explainer.descend = _descend_with_place


def explainer(schema: Any, known: Resources[Any]) -> Any:
    """The slow validator of a schema, that ``explain`` asks for its errors."""
    return _Explainer(schema, registry=known)


def explain(slow: Any, judge: Judge, data: Any) -> list[Violation]:
    """What is wrong with data that the judge has refused: at least one violation, at most twenty."""
    try:
        found = list(islice(_violations(slow, data), _MOST))
    except (RecursionError, TypeError, ValueError):
        # Nested too deeply for Python, or no JSON at all (a key that is no text): the judge's words serve.
        found = []
    return found or list(islice(_verbatim(judge, data), _MOST))


def _violations(slow: Any, data: Any) -> Iterator[Violation]:
    for error in slow.iter_errors(data):
        for leaf in _relevant(error):
            yield _violation(leaf)


def _verbatim(judge: Judge, data: Any) -> Iterator[Violation]:
    for error in judge.iter_errors(data):
        yield Violation(
            pointer(*error.instance_path), f"what fits: {error.message[:200]}", shorten(error.instance)
        )


def _relevant(error: ValidationError) -> Iterator[ValidationError]:
    """The errors to show for one: for alternatives, those of the one that the sender most likely meant."""
    if error.validator not in ("anyOf", "oneOf") or not error.context:
        yield error
        return
    branches: dict[Any, list[ValidationError]] = defaultdict(list)
    for inner in error.context:
        branches[inner.relative_schema_path[0]].append(inner)
    ranked = sorted(branches.values(), key=_distance)
    if len(ranked) > 1 and _distance(ranked[0])[0] and _distance(ranked[1])[0]:
        # Not even the type fits any of them: saying what all want is clearer than picking one.
        yield error
        return
    for inner in ranked[0]:
        yield from _relevant(inner)


def _distance(errors: list[ValidationError]) -> tuple[bool, int, int, int]:
    """How far the data is from one alternative: wrong type, wrong tag, then how many errors, how shallow."""
    wrong_type = any(error.validator == "type" and not error.relative_path for error in errors)
    tags = sum(error.validator in ("const", "enum") for error in errors)
    deepest = max(len(error.relative_path) for error in errors)
    return wrong_type, tags, len(errors), -deepest


def _violation(error: Any) -> Violation:
    place = pointer(*error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        name = _missing(error)
        schema = (
            error.schema.get("properties", {}).get(name, True) if isinstance(error.schema, dict) else True
        )
        return Violation(f"{place}/{escape(name)}", f"{expectation(schema)} (required)", "nothing")
    wanted = expectation({error.validator: error.validator_value}, error)
    return Violation(place, wanted, shorten(error.instance))


def _missing(error: Any) -> str:
    """The property that one ``required`` error is about: jsonschema names it only in the message's text."""
    for name in error.validator_value:
        if error.message.startswith(repr(name)):
            return str(name)
    return str(next(name for name in error.validator_value if name not in error.instance))


def shorten(value: Any) -> str:
    """A value as JSON in at most 80 characters."""
    if isinstance(value, str):
        value = value[: _WIDTH + 1]
    text = ""
    try:
        for piece in json.JSONEncoder(ensure_ascii=False, default=repr).iterencode(value):
            text += piece[: _WIDTH + 1]
            if len(text) > _WIDTH:
                return text[: _WIDTH - 1] + "…"
    except (RecursionError, TypeError, ValueError):
        return f"a {type(value).__name__} that is no JSON"
    return text
