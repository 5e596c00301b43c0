"""Contracts that are made to hurt are refused as what they are: wrong, there, for that reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.bounds import DEEPEST, LARGEST
from contracts.errors import ConfigurationError, ContractViolation
from contracts.registry import Registry

TYPE = "a.b.v1"


def nested(depth: int, wrap: Callable[[Any], Any]) -> dict[str, Any]:
    """A schema wrapped many times."""
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = wrap(schema)
    return schema


def laughs(number: int, keyword: str) -> dict[str, Any]:
    """Definitions, each of which refers twice to the next."""
    twice = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(number)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{number}": {"type": "integer"}}}


def shared(levels: int) -> dict[str, Any]:
    """One small object in memory that is a tree of two to the power of its levels."""
    return nested(levels, lambda schema: {"allOf": [schema, schema]})


LOOP: dict[str, Any] = {}
LOOP["items"] = LOOP

HOSTILE: list[tuple[str, Any, str, str]] = [
    ("items", nested(255, lambda s: {"items": s}), "/items/items/", "100 levels"),
    ("properties", nested(128, lambda s: {"properties": {"a": s}}), "/properties/a/", "100 levels"),
    ("so deep that it crashed", nested(20_000, lambda s: {"not": s}), "/not/not/", "100 levels"),
    ("an endless object", LOOP, "/items/items/", "100 levels"),
    ("wide", {"enum": list(range(LARGEST))}, TYPE, "100,000 values"),
    ("shared in memory", shared(40), TYPE, "100,000 values"),
    ("a reference", {"items": {"$ref": "http://["}}, "/items/$ref", "no URI"),
    ("a dynamic reference", {"$dynamicRef": "//["}, "/$dynamicRef", "no URI"),
    ("an id with a space", {"$id": "http://a b"}, "/$id", "no URI"),
    ("an id", {"$id": "http://["}, "/$id", "no URI"),
    ("an id inside", {"properties": {"a": {"$id": "http://["}}}, "/properties/a/$id", "no URI"),
    ("half a character", {"const": "\ud800"}, "/const", "surrogate"),
    ("half a character as a key", {"properties": {"\udfff": {}}}, "/properties", "surrogate"),
    ("half a character above", {"\ud800": {"const": {1}}}, TYPE, "surrogate"),
    ("a huge number", {"properties": {"a": {"const": 10**5000}}}, "/properties/a/const", "thousand digits"),
    ("infinity", {"maximum": float("inf")}, "/maximum", "no number"),
    ("a set", {"enum": [1, {2}]}, "/enum/1", "a set is no JSON"),
    ("bytes", {"default": b"x"}, "/default", "a bytes is no JSON"),
    ("a number as key", {"properties": {1: {}}}, "/properties", "no text"),
    ("doubling", laughs(40, "allOf"), TYPE, "more than 5,000"),
    ("doubling choices", laughs(40, "oneOf"), TYPE, "more than 5,000"),
    ("doubling inside", {"items": laughs(40, "anyOf")["$defs"]["d0"], **laughs(40, "anyOf")}, TYPE, "5,000"),
    ("itself", {"$ref": "#"}, TYPE, "refers to itself"),
    (
        "round in circles",
        {"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}},
        "/$defs/",
        "refers to itself",
    ),
]


@pytest.mark.parametrize(
    ("schema", "place", "why"), [row[1:] for row in HOSTILE], ids=[r[0] for r in HOSTILE]
)
def test_hostile_schemas_are_refused_where_they_are_wrong(schema: Any, place: str, why: str) -> None:
    """Whatever the schema: a ConfigurationError with type, place and reason, that can be printed."""
    registry = Registry()
    with pytest.raises(ConfigurationError) as caught:
        registry.add(TYPE, schema)
    text = str(caught.value)
    assert text.startswith(TYPE)
    assert place in text
    assert why in text
    assert len(text.encode()) < 500
    assert registry.types() == []


@pytest.mark.parametrize("id", ["http://[", "a b", "\ud800"])
def test_hostile_ids_are_refused(id: str) -> None:
    """An id that is given beside the schema is looked at like one inside it."""
    with pytest.raises(ConfigurationError, match="no URI"):
        Registry().add(TYPE, {}, id=id)


def test_depth_takes_no_process_with_it() -> None:
    """A schema of a hundred thousand levels is refused in a process of its own, which ends in order."""
    code = (
        "from contracts.registry import Registry\n"
        "from contracts.errors import ConfigurationError\n"
        "schema = {}\n"
        "for _ in range(100_000): schema = {'items': schema}\n"
        "try: Registry().add('a.b.v1', schema)\n"
        "except ConfigurationError as error: print('refused')\n"
        "while schema: schema = schema.get('items')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (nested(DEEPEST - 1, lambda s: {"items": s, "type": "array"})["items"], [[]], [1]),
        (nested(48, lambda s: {"properties": {"a": s}, "type": "object"}), {"a": {}}, {"a": {"a": 1}}),
        ({"enum": (1, 2, 10**900)}, 10**900, 10**901),
        (laughs(8, "allOf"), 1, "no"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "type": "array"}}, "$ref": "#/$defs/a"}, [[]], [1]),
        ({"const": "\U0001f600 ä"}, "\U0001f600 ä", "a"),
    ],
)
def test_what_is_within_the_limits_works(schema: Any, good: Any, bad: Any) -> None:
    """Depth, recursion through data, large numbers and shared definitions are no reason to refuse."""
    registry = Registry()
    registry.add(TYPE, schema)
    registry.validate(TYPE, good)
    with pytest.raises(ContractViolation):
        registry.validate(TYPE, bad)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"items":' * 600 + "{}" + "}" * 600, "100 levels"),
        ('{"items":' * 5000 + "{}" + "}" * 5000, "not JSON"),
        (json.dumps({"$id": "http://["}), "no URI"),
        (json.dumps({"const": "\ud800"}), "not JSON"),
    ],
)
def test_hostile_files_are_refused_by_name(tmp_path: Path, text: str, why: str) -> None:
    """The same holds for files, which are named."""
    path = tmp_path / "a" / "b.v1.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=why) as caught:
        Registry.load(tmp_path)
    assert str(caught.value).startswith(str(path))
