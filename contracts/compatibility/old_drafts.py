"""Drafts 4 and 6 in the words of draft 7: old schemas still come in, and say the same in other keywords."""

from __future__ import annotations

from typing import Any

from contracts.subschemas import children

__all__ = ["modernised"]

# Keywords and formats that the drafts do not have: there they are annotations.
_SINCE_7 = ("else", "if", "then")
_LATER = {
    "4": ("const", "contains", "contentEncoding", "contentMediaType", "propertyNames", *_SINCE_7),
    "6": _SINCE_7,
}
_FORMATS_SINCE_7 = ("idn-hostname", "iri", "iri-reference", "relative-json-pointer")
_LATER_FORMATS = {
    "4": ("json-pointer", "uri-reference", "uri-template", *_FORMATS_SINCE_7),
    "6": _FORMATS_SINCE_7,
}
_BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))


def modernised(schema: Any, draft: str) -> Any:
    """The schema changed in place: ``id``, and bounds that are exclusive by a flag."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if not isinstance(found, dict):
            continue
        for keyword in _LATER[draft]:
            found.pop(keyword, None)
        if found.get("format") in _LATER_FORMATS[draft]:
            del found["format"]
        if draft == "4":
            _as_in_6(found)
        waiting += [one for _, one in children(found)]
    return schema


def _as_in_6(schema: dict[str, Any]) -> None:
    if isinstance(schema.get("id"), str):
        schema["$id"] = schema.pop("id")
    for bound, exclusive in _BOUNDS:
        flag = schema.pop(exclusive, None)
        if flag is True and bound in schema:
            schema[exclusive] = schema.pop(bound)
