"""The named differences between objects and between arrays: content models open, closed and in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from contracts.judge import fits
from contracts.subschemas import escape

__all__ = ["compare_arrays", "compare_objects"]

_Schema = Mapping[str, Any]


class Comparing(Protocol):
    """What a comparison of parts asks of the comparison of the whole."""

    found: list[Any]

    def add(self, type: str, pointer: str) -> None:
        """Names a difference."""

    def compare(self, original: Any, update: Any, pointer: str) -> None:
        """Compares two schemas in the same place."""

    def tried(self, original: Any, update: Any, pointer: str) -> Any:
        """The comparison of two schemas on its own, that says whether it is ``compatible``."""


def compare_objects(to: Comparing, old: _Schema, new: _Schema, pointer: str) -> None:
    """Properties, what is required, what else there may be, and dependencies."""
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in {**before, **after}:
        place = f"{pointer}/properties/{escape(name)}"
        if name not in after:
            _property_removed(to, before[name], new, name, place)
        elif name not in before:
            _property_added(to, after[name], old, new, name, place)
        else:
            to.compare(before[name], after[name], place)
            _required(to, old, new, name, after[name], f"{pointer}/required/{escape(name)}")
    _rest(
        to,
        old.get("additionalProperties", True),
        new.get("additionalProperties", True),
        "PROPERTIES",
        pointer,
    )
    _dependencies(to, old, new, pointer)


def _is_open(schema: _Schema) -> bool:
    return not schema.get("patternProperties") and schema.get("additionalProperties", True) is True


def _covering(schema: _Schema, name: str) -> Any:
    """The schema that a partly open object has for a property of that name; None when it may have none."""
    for pattern, one in schema.get("patternProperties", {}).items():
        if fits("pattern", pattern, name):
            return one
    rest = schema.get("additionalProperties", True)
    return None if isinstance(rest, bool) else rest


def _property_removed(to: Comparing, removed: Any, new: _Schema, name: str, place: str) -> None:
    if _is_open(new):
        to.add("PROPERTY_REMOVED_FROM_OPEN_CONTENT_MODEL", place)
        return
    cover = _covering(new, name)
    if cover is not None:
        _covered(to, removed, cover, "PROPERTY_REMOVED", place)
    elif removed is False:
        to.add("PROPERTY_WITH_FALSE_REMOVED_FROM_CLOSED_CONTENT_MODEL", place)
    else:
        to.add("PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", place)


def _property_added(to: Comparing, added: Any, old: _Schema, new: _Schema, name: str, place: str) -> None:
    if _is_open(old):
        empty = added is True or added == {}
        to.add(f"PROPERTY_{'WITH_EMPTY_SCHEMA_' if empty else ''}ADDED_TO_OPEN_CONTENT_MODEL", place)
        return
    cover = _covering(old, name)
    if cover is not None:
        _covered(to, cover, added, "PROPERTY_ADDED", place)
    if name not in new.get("required", ()):
        to.add("OPTIONAL_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", place)
    elif _has_default(added):
        to.add("REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_UNOPEN_CONTENT_MODEL", place)
    else:
        to.add("REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", place)


def _covered(to: Comparing, original: Any, update: Any, what: str, place: str) -> None:
    """Whether the schema of a property, or an item, fits that of the rest on the other side."""
    one = to.tried(original, update, place)
    to.found += one.found
    to.add(f"{what}_{'IS' if one.compatible else 'NOT'}_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", place)


def _has_default(schema: Any) -> bool:
    return isinstance(schema, Mapping) and "default" in schema


def _required(to: Comparing, old: _Schema, new: _Schema, name: str, schema: Any, place: str) -> None:
    before, after = name in old.get("required", ()), name in new.get("required", ())
    if after and not before:
        to.add(f"REQUIRED_ATTRIBUTE_{'WITH_DEFAULT_' if _has_default(schema) else ''}ADDED", place)
    elif before and not after:
        to.add("REQUIRED_ATTRIBUTE_REMOVED", place)


def _rest(to: Comparing, old: Any, new: Any, what: str, pointer: str) -> None:
    """``additionalProperties`` or ``additionalItems``."""
    place = f"{pointer}/additional{what.capitalize()}"
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        to.compare(old, new, place)
        return
    ranks = [1 if isinstance(one, Mapping) else 2 if one else 0 for one in (old, new)]
    if ranks[0] < ranks[1]:
        to.add(f"ADDITIONAL_{what}_{'ADDED' if ranks[0] == 0 else 'EXTENDED'}", place)
    elif ranks[0] > ranks[1]:
        to.add(f"ADDITIONAL_{what}_{'REMOVED' if ranks[1] == 0 else 'NARROWED'}", place)


def _dependencies(to: Comparing, old: _Schema, new: _Schema, pointer: str) -> None:
    before, after = _depending(old), _depending(new)
    for name in {**before, **after}:
        place = f"{pointer}/dependencies/{escape(name)}"
        one, other = before.get(name), after.get(name)
        kind = "ARRAY" if isinstance(one if one is not None else other, list) else "SCHEMA"
        if one is None or other is None:
            to.add(f"DEPENDENCY_{kind}_{'ADDED' if one is None else 'REMOVED'}", place)
        elif isinstance(one, list) and isinstance(other, list):
            _dependency_names(to, {*one}, {*other}, place)
        else:
            to.compare({"required": one} if isinstance(one, list) else one, other, place)


def _dependency_names(to: Comparing, old: set[str], new: set[str], place: str) -> None:
    if old != new:
        word = "EXTENDED" if old < new else "NARROWED" if old > new else "CHANGED"
        to.add(f"DEPENDENCY_ARRAY_{word}", place)


def _depending(schema: _Schema) -> dict[str, Any]:
    return {
        name: one
        for keyword in ("dependencies", "dependentRequired", "dependentSchemas")
        for name, one in schema.get(keyword, {}).items()
    }


def compare_arrays(to: Comparing, old: _Schema, new: _Schema, pointer: str) -> None:
    """Items in their places, what else there may be, and whether they differ."""
    if bool(old.get("uniqueItems")) != bool(new.get("uniqueItems")):
        to.add(f"UNIQUE_ITEMS_{'REMOVED' if old.get('uniqueItems') else 'ADDED'}", f"{pointer}/uniqueItems")
    before, rest_before, all_before = _items(old)
    after, rest_after, all_after = _items(new)
    if all_before is not None and all_after is not None:
        to.compare(all_before, all_after, f"{pointer}/items")
    elif all_before is not all_after:
        to.add("SCHEMA_ADDED" if all_before is None else "SCHEMA_REMOVED", f"{pointer}/items")
    for index in range(max(len(before), len(after))):
        place = f"{pointer}/items/{index}"
        if index >= len(after):
            _item(to, "REMOVED", before[index], rest_after, place)
        elif index >= len(before):
            _item(to, "ADDED", after[index], rest_before, place)
        else:
            to.compare(before[index], after[index], place)
    _rest(to, rest_before, rest_after, "ITEMS", pointer)


def _items(schema: _Schema) -> tuple[list[Any], Any, Any]:
    """The schemas of the first items, that of the rest, and that of all where none are told apart."""
    if isinstance(schema.get("items"), list):
        return schema["items"], schema.get("additionalItems", True), None
    if "prefixItems" in schema:
        return list(schema["prefixItems"]), schema.get("items", True), None
    return [], schema.get("additionalItems", True), schema.get("items")


def _item(to: Comparing, what: str, item: Any, rest: Any, place: str) -> None:
    """An item that was added to, or removed from, the first: it is one of the rest on the other side."""
    preposition = "TO" if what == "ADDED" else "FROM"
    if rest is True:
        empty = what == "ADDED" and (item is True or item == {})
        to.add(f"ITEM_{'WITH_EMPTY_SCHEMA_' if empty else ''}{what}_{preposition}_OPEN_CONTENT_MODEL", place)
    elif rest is False:
        gone = what == "REMOVED" and item is False
        to.add(f"ITEM_{'WITH_FALSE_' if gone else ''}{what}_{preposition}_CLOSED_CONTENT_MODEL", place)
    else:
        pair = (rest, item) if what == "ADDED" else (item, rest)
        _covered(to, *pair, f"ITEM_{what}", place)
