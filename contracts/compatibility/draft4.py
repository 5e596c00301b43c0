"""Draft 4 in the words of draft 7: old schemas still come in, and say the same in other keywords."""

from __future__ import annotations

from typing import Any

from contracts.subschemas import children

__all__ = ["modernised"]

# Keywords that draft 4 does not have: there they are annotations.
_LATER = ("const", "contains", "else", "if", "propertyNames", "then")
_BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))


def modernised(schema: Any) -> Any:
    """The schema changed in place: ``id``, and bounds that are exclusive by a flag."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if not isinstance(found, dict):
            continue
        for keyword in _LATER:
            found.pop(keyword, None)
        if isinstance(found.get("id"), str):
            found["$id"] = found.pop("id")
        for bound, exclusive in _BOUNDS:
            flag = found.pop(exclusive, None)
            if flag is True and bound in found:
                found[exclusive] = found.pop(bound)
        waiting += [one for _, one in children(found)]
    return schema
