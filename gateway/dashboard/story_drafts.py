"""Drafts: rows and lanes of a story with times that have no place on an axis yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.dashboard.story_model import Lane, Row

__all__ = ["Draft", "Edge", "LaneDraft", "Moment", "RowData", "Stretch", "error_line"]

RowData = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment in seconds; ``end`` is None while it lasts."""

    kind: str
    start: float
    end: float | None
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A dot in seconds."""

    kind: str
    at: float
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Edge:
    """At ``at``, ``source`` caused ``target``; both are rows' ids."""

    at: float
    source: str
    target: str


@dataclass(slots=True)
class Draft:
    """A row, and its stretches and moments in seconds."""

    row: Row
    stretches: list[Stretch] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)


@dataclass(slots=True)
class LaneDraft:
    """A lane and its drafts."""

    lane: Lane
    drafts: list[Draft] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)


def error_line(error: Any) -> str:
    """An error that was kept as JSON, in one line."""
    if isinstance(error, Mapping):
        name = error.get("type") or error.get("code") or ""
        message = error.get("message") or ""
        return f"{name}: {message}" if name and message else str(name or message)
    return str(error) if error else ""
