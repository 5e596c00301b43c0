"""Backward, forward, full, and every earlier version: who reads whom."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.compatibility import Mode, check


def closed(**properties: Any) -> dict[str, Any]:
    """An object with these properties and no others."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


S, I, N = {"type": "string"}, {"type": "integer"}, {"type": "number"}  # noqa: E741  # as short as the tables need
V1, V2, V3 = closed(a=S), closed(a=S, b=I), closed(a=S, b=N)


@pytest.mark.parametrize(
    ("versions", "mode", "word"),
    [
        ([V1, V2], "backward", "compatible"),
        ([V1, V2], "forward", "incompatible"),
        ([V2, V1], "FORWARD", "compatible"),
        ([V1, V2], "full", "incompatible"),
        ([V1, {**V1, "title": "x"}], "full", "compatible"),
        ([V1, V2, V3], "backward-transitive", "compatible"),
        ([V3, V1, V2], "backward", "compatible"),
        ([V3, V1, V2], "backward_transitive", "incompatible"),
        ([V3, V2, V1], "forward_transitive", "compatible"),
        ([V1, V1], "full_transitive", "compatible"),
        ([V1, V2], "none", "compatible"),
        ([V1], "full", "compatible"),
        ([{"$ref": "#"}, V1], "backward", "unknown"),
    ],
)
def test_modes_say_who_reads_whom(versions: list[Any], mode: str, word: str) -> None:
    """Backward reads the old, forward is read by the old, transitive counts every earlier version."""
    report = check(versions, mode)
    assert report.verdict.word == word
    assert report.as_json()["verdict"] == word


def test_a_report_names_the_version_and_direction() -> None:
    """Each comparison says with which version and in which direction."""
    report = check([V3, V1, V2], Mode.BACKWARD_TRANSITIVE)
    assert [(one.version, one.direction, one.verdict.word) for one in report.comparisons] == [
        (1, "backward", "compatible"),
        (0, "backward", "incompatible"),
    ]
    with pytest.raises(ValueError, match="sideways"):
        check([V1, V2], "sideways")
