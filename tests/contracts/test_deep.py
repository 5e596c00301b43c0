"""JSON deeper than most writers go."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import pytest

from contracts.deep import written


@dataclass
class Shown:
    result: Any


@pytest.mark.parametrize("levels", [1, 254, 255, 300])
def test_whatever_is_nested_is_written_alike(levels: int) -> None:
    """Without a blank, in UTF-8, and what has no form of its own as it is said to have."""
    nested: Any = "ü"
    for _ in range(levels):
        nested = [nested]
    text = "[" * levels + '"ü"' + "]" * levels
    assert written({"a": nested}).decode() == f'{{"a":{text}}}'
    assert json.loads(written(Shown(nested), asdict)) == {"result": nested}
    if levels > 254:
        with pytest.raises(orjson.JSONEncodeError):
            orjson.dumps(nested)


def test_what_has_no_form_is_refused() -> None:
    """By whatever writes it."""
    with pytest.raises(TypeError):
        written({"a": object()})
