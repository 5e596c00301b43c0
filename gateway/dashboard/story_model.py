"""What a story is once it has been laid out: lanes of rows on one axis, in percent of its width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.dashboard.axis import Fold, Tick
from gateway.dashboard.progress import Attempt
from gateway.dashboard.words import Status

__all__ = ["Action", "Dot", "Entry", "Finding", "Lane", "Line", "Row", "Segment", "Story"]


@dataclass(frozen=True, slots=True)
class Action:
    """Something an operator may do from here; ``href`` asks, and says what it will touch."""

    label: str
    href: str
    danger: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time; ``x`` and ``width`` in percent.

    ``kind`` is work, queue, backoff, wait, span or missing.
    """

    kind: str
    x: float
    width: float
    tone: str
    title: str
    open: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A moment. ``kind``: event, mark or audit."""

    kind: str
    x: float
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """One row's part of an edge: a vertical line at ``x``, from ``y1`` to ``y2`` percent of its height."""

    x: float
    y1: int
    y2: int
    arrow: bool = False


@dataclass(slots=True)
class Row:
    """One node of a run, one reaction, or one event from outside."""

    id: str
    label: str
    sub: str
    status: Status
    why: str
    started: float | None = None
    ended: float | None = None
    note: str = ""
    segments: list[Segment] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    details: list[tuple[str, str, str]] = field(default_factory=list)  # name, value, text|id|json|time
    attempts: list[Attempt] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    @property
    def note_x(self) -> float:
        """Where the note stands: behind the last stretch, or before the first when there is no room."""
        edges = [segment.x + segment.width for segment in self.segments] + [dot.x for dot in self.dots]
        right = max(edges, default=0.0)
        if right <= 72:
            return right
        return min([segment.x for segment in self.segments] + [dot.x for dot in self.dots], default=100.0)

    @property
    def note_before(self) -> bool:
        """Whether the note stands before the first stretch."""
        edges = [segment.x + segment.width for segment in self.segments] + [dot.x for dot in self.dots]
        return max(edges, default=0.0) > 72


@dataclass(slots=True)
class Lane:
    """A run, a reactor, a service, the outside world, or the operators."""

    id: str
    kind: str  # run, reactor, service, outside, operators
    title: str
    sub: str
    status: Status | None
    summary: str
    href: str | None = None
    rows: list[Row] = field(default_factory=list)
    span: Segment | None = None
    dots: list[Dot] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    hidden: int = 0  # rows that are in the table only


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that somebody on call should know, in a sentence."""

    tone: str
    icon: str
    text: str
    anchor: str
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the table twin."""

    at: float
    since: float
    where: str
    what: str
    status: Status | None
    why: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything with one correlation id, laid out."""

    correlation: str
    start: float
    end: float
    open: bool
    lanes: Sequence[Lane]
    ticks: Sequence[Tick]
    folds: Sequence[Fold]
    findings: Sequence[Finding]
    entries: Sequence[Entry]
    counts: Sequence[tuple[str, int, str]]  # word, how many, tone
    true_axis: bool
