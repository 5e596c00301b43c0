"""What one contract means to those who write it and to those who read it.

Consumers read open: a property that they do not know is no reason to refuse. Producers write closed: what
they did not declare, they do not send. So an optional property may be added, or taken away, within a major.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from contracts.subschemas import children

__all__ = ["reader_form", "writer_form"]

# Keywords whose schemas apply to the same value as their parent.
_IN_PLACE = frozenset({"allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"})
_DEFINITIONS = frozenset({"$defs", "definitions"})
# Where more or less is accepted must not be changed: what is opened there closes the whole.
_TURNED = frozenset({"if", "not", "oneOf"})
_SAYS_REST = ("additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames")
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


def writer_form(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as its writers keep to it: objects that say nothing of further properties have none."""
    closed = copy.deepcopy(dict(schema))
    _close(closed, closed, True, 0)
    return closed


def _first(place: str) -> str:
    return place.split("/")[1]


def _close(schema: dict[str, Any], root: dict[str, Any], a_value: bool, depth: int) -> None:
    """Closes the schema where it stands for a whole value, and what it holds."""
    if depth > _DEEPEST:
        return
    declares, says_rest = _of_properties(schema, root, 0)
    for place, one in list(children(schema)):
        if isinstance(one, dict):
            in_place = _first(place) in _IN_PLACE or _first(place) in _DEFINITIONS
            _close(one, root, not in_place, depth + 1)
    if a_value and declares and not says_rest:
        schema["unevaluatedProperties"] = False


def _of_properties(schema: Any, root: dict[str, Any], depth: int) -> tuple[bool, bool]:
    """Whether a schema, with all in its place, declares properties, and says something of the rest."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return False, False
    declares = "properties" in schema
    says_rest = any(keyword in schema for keyword in _SAYS_REST)
    inside = [one for place, one in children(schema) if _first(place) in _IN_PLACE - {"not"}]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = _local(reference, root)
        # What is defined elsewhere is closed there, or is not ours to close.
        says_rest = says_rest or target is None
        inside.append(target)
    for one in inside:
        found = _of_properties(one, root, depth + 1)
        declares, says_rest = declares or found[0], says_rest or found[1]
    return declares, says_rest


def _local(reference: str, root: dict[str, Any]) -> Any:
    if not reference.startswith("#/"):
        return None
    found: Any = root
    for token in reference[2:].split("/"):
        name = token.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found
