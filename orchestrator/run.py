"""A run's state. What changes it is ``orchestrator.evolve``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Run"]


@dataclass
class Run:
    """One execution of a flow.

    ``active`` says for each node at work: its kind (step, compensation, wait, sleep, call, emit), since
    when, and by kind the attempt, the dispatch, ``retry_at``, ``due``, ``here`` (in this process), and
    ``stuck`` (the error of its incident). ``undo`` lists the steps to compensate, oldest first.
    ``arrived`` lists for each open fork the branches that have ended. ``kept`` holds what came before
    it was waited for. ``held`` holds the nodes that a pause keeps from starting. ``let_on`` counts for each
    node how often somebody let it go on after an incident.
    """

    id: str
    partition: int
    workspace: str
    flow: str
    version: int
    key: str
    correlation: str
    input: dict[str, Any]
    input_digest: str
    start_id: str
    created_at: float
    updated_at: float
    linked_from: str | None = None
    parent: dict[str, Any] | None = None
    answer_to: str | None = None
    traceparent: str | None = None

    status: str = "running"
    seq: int = 0
    ended_at: float | None = None
    result: Any = None
    error: dict[str, Any] | None = None

    active: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    undo: list[str] = field(default_factory=list)
    arrived: dict[str, list[int]] = field(default_factory=dict)
    kept: list[dict[str, Any]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    pivoted: bool = False
    backward: str | None = None  # failed or cancelled: how it ends once everything is undone
    undone: int = 0
    paused: bool = False
    reruns: int = 0
    let_on: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.ended_at is not None

    def in_hand(self, node: str) -> int | None:
        """The dispatch under which its owner's process has a node in hand; None where it has not."""
        entry = self.active.get(node, {})
        return entry["dispatch"] if entry.get("here") and "retry_at" not in entry else None

    @property
    def busy(self) -> bool:
        """Whether its owner's process has work of it in hand."""
        return any(self.in_hand(node) is not None for node in self.active)

    @property
    def standing(self) -> tuple[str, int, float | None]:
        """Status, whether it is busy (1 or 0), when it ended: what of it can change and has an index."""
        return self.status, int(self.busy), self.ended_at

    def document(self) -> dict[str, Any]:
        """What paths and conditions read."""
        run = {"id": self.id, "key": self.key, "workspace": self.workspace, "correlation": self.correlation}
        return {"input": self.input, "run": run, "error": self.error, **self.results}

    def waiting(self) -> str | None:
        """Why it does not move right now, in words; None while it does, or when it has ended."""
        if self.ended or not self.active:
            return "paused" if self.paused and not self.ended else None
        return "; ".join([f"{node}: {_reason(entry)}" for node, entry in self.active.items()])

    def due(self, node: str) -> float | None:
        """When the timer of a node is due by what the run knows; None when it needs none."""
        entry = self.active.get(node, {})
        due: float | None = entry.get("retry_at", entry.get("due"))
        return None if "stuck" in entry else due

    def copy(self) -> Run:
        """One that can evolve without changing this one."""
        fork = Run.__new__(Run)
        fork.__dict__.update(self.__dict__)  # once for each happening: a tenth of what __init__ takes
        fork.active = {node: dict(entry) for node, entry in self.active.items()}
        fork.results = dict(self.results)
        fork.undo = list(self.undo)
        fork.arrived = {fork_name: list(ended) for fork_name, ended in self.arrived.items()}
        fork.kept = list(self.kept)
        fork.held = list(self.held)
        fork.let_on = dict(self.let_on)
        return fork


def _reason(entry: dict[str, Any]) -> str:
    if "stuck" in entry:
        return f"stuck: {entry['stuck'].get('message', '')}"
    if "retry_at" in entry:
        return f"retries after attempt {entry['attempt']}"
    match entry["kind"]:
        case "step" | "compensation":
            where = "at work here" if entry.get("here") else f"at {entry.get('service', 'a service')}"
            return f"{'undone ' if entry['kind'] == 'compensation' else ''}{where}"
        case "wait":
            return f"waits for {entry['type']}"
        case "call":
            return f"waits for run {entry['child']}"
        case kind:
            return str(kind)
