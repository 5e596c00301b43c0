"""Doubts: which of the things that a run waits for can't come, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.happenings import Reconciled

__all__ = ["REASONS", "REPAIRABLE", "Child", "Doubt", "QuietRun", "doubts_about", "repair_of"]

# Why a run may not go on by itself; what stands behind the dash is what is done about it.
REASONS = {
    "timer_lost": "its timer is gone - it is set again",
    "work_lost": "nobody has it in hand - it is started again",
    "command_lost": "no reply can come, and no timeout - its service is asked again",
    "child_lost": "the run that it called is not there - it is asked for again",
    "child_answer_lost": "the run that it called has ended, and its answer did not come - it is asked again",
    "nothing_to_wait_for": "nothing that could move it is left - it is listed as stuck",
    "unknown_wait": "what it waits for is of no kind that is known here - look at its state",
    "flow_version_missing": "its owner lacks this version of its flow - deploy it, or migrate the run",
    "unreadable": "its row can't be read - look into the log of its owner",
}

# Those that are made up for, and counted.
REPAIRABLE = ("timer_lost", "work_lost", "command_lost", "child_lost", "child_answer_lost")


@dataclass(frozen=True, slots=True)
class Doubt:
    """One thing that a run waits for and may never get. ``node`` is None where it is the run as a whole."""

    reason: str  # one of REASONS
    node: str | None = None
    dispatch: int = 0
    due: float = 0.0

    def __str__(self) -> str:
        words = REASONS[self.reason]
        return words if self.node is None else f"{self.node}: {words}"


@dataclass(frozen=True, slots=True)
class Child:
    """A run that another one waits for."""

    parent: str | None
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class QuietRun:
    """What is looked at of an open run that nothing has happened to for a while.

    ``timers``: when each of its timers is due. ``children``: the runs that it waits for, where they
    are there. ``odd``: why the row can't be read, if it can't.
    """

    id: str
    workspace: str
    flow: str
    version: int
    key: str
    since: float  # seconds since the epoch: its newest fact
    active: dict[str, dict[str, Any]] = field(default_factory=dict)
    paused: bool = False
    timers: Mapping[str, float] = field(default_factory=dict)
    children: Mapping[str, Child] = field(default_factory=dict)
    odd: str | None = None


def doubts_about(
    run: QuietRun,
    works: Callable[[str, str], bool],
    knows: Callable[[str, int], bool],
    *,
    before: float,
) -> list[Doubt]:
    """What of a run's reasons to wait does not hold; empty when it is proved.

    ``works(run_id, node)``: whether a step is in hand here. ``knows(flow, version)``: whether the code
    is. What changed after ``before`` (seconds since the epoch) is under way, and no doubt yet.
    """
    if run.odd is not None:
        return [Doubt("unreadable")]
    if not knows(run.flow, run.version):
        return [Doubt("flow_version_missing")]
    if not run.active and not run.paused:
        return [Doubt("nothing_to_wait_for")]
    found = (_doubt(run, node, entry, works, before) for node, entry in run.active.items())
    return [doubt for doubt in found if doubt is not None]


def _doubt(
    run: QuietRun, node: str, entry: dict[str, Any], works: Callable[[str, str], bool], before: float
) -> Doubt | None:
    if "stuck" in entry:
        return None  # listed, with its reason: somebody has to retry or cancel it
    if run.paused and "retry_at" in entry:
        return None  # resuming sets its timer again
    due = entry.get("retry_at", entry.get("due"))
    if due is not None:
        return None if run.timers.get(node) == due else Doubt("timer_lost", node, due=due)
    match entry["kind"]:
        case "step" | "compensation" if entry.get("here"):
            return None if works(run.id, node) else Doubt("work_lost", node, dispatch=entry["dispatch"])
        case "step" | "compensation":
            return Doubt("command_lost", node)
        case "call":
            return _doubt_of_child(run, node, entry["child"], before)
        case "wait":
            return None  # an event can always come
        case _:
            return Doubt("unknown_wait", node)


def _doubt_of_child(run: QuietRun, node: str, child_id: str, before: float) -> Doubt | None:
    child = run.children.get(child_id)
    if child is None:
        return Doubt("child_lost", node)
    # One that another run has called was answered for at once: that the key is taken.
    over = child.parent != run.id or (child.ended_at is not None and child.ended_at < before)
    return Doubt("child_answer_lost", node) if over else None


def repair_of(doubts: list[Doubt]) -> Reconciled | None:
    """What is to happen to the run; None where nothing can be done from here."""
    repair = Reconciled(
        lost=tuple((str(d.node), d.dispatch) for d in doubts if d.reason == "work_lost"),
        timers=tuple((str(d.node), d.due) for d in doubts if d.reason == "timer_lost"),
        asks=tuple((str(d.node), d.reason) for d in doubts if d.reason in REPAIRABLE[2:]),
        nothing=any(d.reason == "nothing_to_wait_for" for d in doubts),
    )
    return repair if repair != Reconciled() else None
