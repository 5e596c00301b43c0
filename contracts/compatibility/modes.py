"""Compatibility of a new version with earlier ones, in the directions that Confluent and Karapace named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from contracts.compatibility.compare import compare
from contracts.compatibility.verdict import Compatible, Incompatible, Unknown, Verdict

__all__ = ["Comparison", "Direction", "Mode", "Report", "check"]


class Mode(StrEnum):
    """What a new version has to keep.

    ``backward``: the new version reads what the last one wrote. ``forward``: the last one reads what the
    new one writes. ``full``: both. ``…_transitive``: with every earlier version, not only the last.
    """

    NONE = "none"
    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"
    BACKWARD_TRANSITIVE = "backward_transitive"
    FORWARD_TRANSITIVE = "forward_transitive"
    FULL_TRANSITIVE = "full_transitive"

    @classmethod
    def _missing_(cls, value: object) -> Mode | None:
        text = str(value).lower().replace("-", "_")
        return next((mode for mode in cls if mode.value == text), None)

    @property
    def transitive(self) -> bool:
        """Whether every earlier version counts."""
        return self.value.endswith("_transitive")

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Who reads whom."""
        match self.value.removesuffix("_transitive"):
            case "backward":
                return (Direction.BACKWARD,)
            case "forward":
                return (Direction.FORWARD,)
            case "full":
                return (Direction.BACKWARD, Direction.FORWARD)
            case _:
                return ()


class Direction(StrEnum):
    """``backward``: the new version reads the data of the earlier; ``forward``: the other way."""

    BACKWARD = "backward"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison: with which earlier version (its index), in which direction, and the verdict."""

    version: int
    direction: Direction
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {"version": self.version, "direction": self.direction.value, **self.verdict.as_json()}


@dataclass(frozen=True, slots=True)
class Report:
    """All comparisons of a new version."""

    mode: Mode
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> Verdict:
        """The first that is incompatible, else the first that is unknown, else compatible."""
        for kind in (Incompatible, Unknown):
            for comparison in self.comparisons:
                if isinstance(comparison.verdict, kind):
                    return comparison.verdict
        return Compatible()

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "mode": self.mode.value,
            **self.verdict.as_json(),
            "comparisons": [comparison.as_json() for comparison in self.comparisons],
        }


def check(versions: Sequence[Any], mode: Mode | str = Mode.BACKWARD, **options: Any) -> Report:
    """Compares the last version with those before it, the latest first; ``options`` are those of ``compare``.

    Raises ValueError for a mode that is none.
    """
    mode = Mode(mode)
    if len(versions) < 2:
        return Report(mode, ())
    new = versions[-1]
    earlier = range(len(versions) - 2, -1, -1)
    comparisons = []
    for version in earlier if mode.transitive else earlier[:1]:
        for direction in mode.directions:
            old = versions[version]
            writer, reader = (old, new) if direction is Direction.BACKWARD else (new, old)
            comparisons.append(Comparison(version, direction, compare(writer, reader, **options)))
    return Report(mode, tuple(comparisons))
