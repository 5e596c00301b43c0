"""A run's state, and how each fact changes it.

``evolve`` is the only thing that changes a run. Folding a history over a fresh run gives the state
that the journal has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.facts import ENDINGS, Fact

__all__ = ["Run", "evolve"]


@dataclass
class Run:
    """One execution of a flow.

    ``active`` says for each node at work: its kind (step, compensation, wait, sleep, call, emit), since
    when, and by kind the attempt, the dispatch, ``retry_at``, ``due``, ``here`` (in this process), and
    ``stuck`` (the error of its incident). ``undo`` lists the steps to compensate, oldest first.
    ``arrived`` lists for each open fork the branches that have ended. ``kept`` holds what came before
    it was waited for. ``held`` holds the nodes that a pause keeps from starting.
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

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.ended_at is not None

    @property
    def busy(self) -> bool:
        """Whether its owner's process has work of it in hand."""
        return any(entry.get("here") and "retry_at" not in entry for entry in self.active.values())

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


def evolve(run: Run, fact: Fact) -> None:
    """Change ``run`` as ``fact`` says it changed. Raises KeyError for a fact it does not know."""
    _EVOLUTIONS[fact.type](run, fact)
    run.seq = fact.seq
    run.updated_at = fact.at
    if run.ended_at is None:
        run.status = _status(run)


def _status(run: Run) -> str:
    for entry in run.active.values():  # for each fact: a generator would take longer than all else here
        if "stuck" in entry:
            return "stuck"
    if run.paused:
        return "paused"
    return "compensating" if run.backward else "running"


def _nothing(run: Run, fact: Fact) -> None:
    """The fact tells the reader something and changes nothing."""


def _run_started(run: Run, fact: Fact) -> None:
    run.results.update(fact.data.get("results", {}))
    run.pivoted = bool(fact.data.get("pivoted"))


def _scheduled(kind: str) -> Callable[[Run, Fact], None]:
    def evolution(run: Run, fact: Fact) -> None:
        node = str(fact.node)
        before = run.active.get(node, {})
        entry = {key: value for key, value in fact.data.items() if key != "undo"}
        if fact.data.get("undo"):
            if node in run.undo:
                # It was tried before, and how that ended is not known for certain: a refusal now says
                # nothing about then.
                entry["doubt"] = True
            else:
                run.undo.append(node)
        if "returned" in before and entry.get("dispatch", 1) > 1:
            entry["returned"] = before["returned"]
        run.active[node] = {
            **entry,
            "kind": kind,
            "since": fact.at,
            "first": before.get("first", fact.at),
        }
        if node in run.held:
            run.held.remove(node)

    return evolution


def _step_completed(run: Run, fact: Fact) -> None:
    node = str(fact.node)
    run.active.pop(node, None)
    run.results[node] = fact.data["result"]
    run.pivoted = run.pivoted or bool(fact.data.get("pivot"))


def _attempt_failed(run: Run, fact: Fact) -> None:
    node = str(fact.node)
    if "retry_at" in fact.data:
        entry = run.active[node]
        entry["retry_at"] = fact.data["retry_at"]
        entry["error"] = fact.data["error"]
        entry.pop("due", None)
        return
    entry = run.active.pop(node, {})
    if fact.data.get("definite") and node in run.undo and not entry.get("doubt"):
        run.undo.remove(node)


def _returned(run: Run, fact: Fact) -> None:
    entry = run.active[str(fact.node)]
    entry["returned"] = entry.get("returned", 0) + 1


def _compensation_failed(run: Run, fact: Fact) -> None:
    if "retry_at" in fact.data:
        _attempt_failed(run, fact)


def _compensation_completed(run: Run, fact: Fact) -> None:
    node = str(fact.node)
    run.active.pop(node, None)
    run.undo.remove(node)
    run.undone += 1


def _compensation_started(run: Run, fact: Fact) -> None:
    run.active.clear()
    run.arrived.clear()
    run.held.clear()
    run.error = fact.data["error"]
    run.backward = fact.data["outcome"]


def _received(run: Run, fact: Fact) -> None:
    node = str(fact.node)
    run.active.pop(node, None)
    run.results[node] = fact.data["data"]
    run.kept = [kept for kept in run.kept if kept["event_id"] != fact.data["event_id"]]


def _kept(run: Run, fact: Fact) -> None:
    run.kept.append(dict(fact.data))


def _over(run: Run, fact: Fact) -> None:
    run.active.pop(str(fact.node), None)


def _branches_started(run: Run, fact: Fact) -> None:
    run.arrived[str(fact.node)] = []


def _branch_ended(run: Run, fact: Fact) -> None:
    run.arrived[str(fact.node)].append(fact.data["branch"])


def _branches_joined(run: Run, fact: Fact) -> None:
    run.arrived.pop(str(fact.node), None)
    for node in fact.data.get("abandoned", ()):
        run.active.pop(node, None)
        run.arrived.pop(node, None)
        if node in run.held:
            run.held.remove(node)


def _child_ended(run: Run, fact: Fact) -> None:
    run.active.pop(str(fact.node), None)
    if fact.data["status"] == "completed":
        run.results[str(fact.node)] = fact.data["result"]


def _incident_raised(run: Run, fact: Fact) -> None:
    entry = run.active.setdefault(str(fact.node), {"kind": fact.data["kind"], "since": fact.at})
    entry["stuck"] = fact.data["error"]
    if fact.node in run.held:
        run.held.remove(fact.node)
    entry.pop("here", None)


def _incident_resolved(run: Run, fact: Fact) -> None:
    run.active.pop(str(fact.node), None)


def _paused(run: Run, fact: Fact) -> None:
    run.paused = True


def _held(run: Run, fact: Fact) -> None:
    run.held.append(str(fact.node))


def _resumed(run: Run, fact: Fact) -> None:
    run.paused = False
    run.held.clear()


def _migrated(run: Run, fact: Fact) -> None:
    names, positions = fact.data["renames"], fact.data["positions"]
    run.version = fact.data["to"]
    run.active = {names.get(node, node): entry for node, entry in run.active.items()}
    for node, entry in run.active.items():
        entry["position"] = positions[node]
    run.results = {names.get(node, node): result for node, result in run.results.items()}
    run.arrived = {names.get(fork, fork): ended for fork, ended in run.arrived.items()}
    run.undo = [names.get(node, node) for node in run.undo]
    run.held = [names.get(node, node) for node in run.held]


def _rerun_started(run: Run, fact: Fact) -> None:
    run.reruns = fact.data["number"]


def _ended(run: Run, fact: Fact) -> None:
    run.status = ENDINGS[fact.type]
    run.ended_at = fact.at
    run.result = fact.data.get("result")
    run.error = fact.data.get("error", run.error)
    run.active.clear()  # not what is kept: a run that is made from this one takes it over


_EVOLUTIONS: dict[str, Callable[[Run, Fact], None]] = {
    "run_started": _run_started,
    "step_scheduled": _scheduled("step"),
    "step_completed": _step_completed,
    "step_failed": _attempt_failed,
    "step_returned": _returned,
    "wait_started": _scheduled("wait"),
    "wait_timed_out": _over,
    "event_kept": _kept,
    "event_refused": _nothing,
    "event_received": _received,
    "signal_received": _received,
    "timer_started": _scheduled("sleep"),
    "timer_fired": _over,
    "choice_taken": _nothing,
    "branches_started": _branches_started,
    "branch_ended": _branch_ended,
    "branches_joined": _branches_joined,
    "event_emitted": _nothing,
    "child_started": _scheduled("call"),
    "child_ended": _child_ended,
    "compensation_started": _compensation_started,
    "compensation_scheduled": _scheduled("compensation"),
    "compensation_completed": _compensation_completed,
    "compensation_failed": _compensation_failed,
    "cancel_requested": _nothing,
    "cancel_refused": _nothing,
    "incident_raised": _incident_raised,
    "incident_resolved": _incident_resolved,
    "run_paused": _paused,
    "node_held": _held,
    "run_resumed": _resumed,
    "rerun_started": _rerun_started,
    "rerun_refused": _nothing,
    "run_repaired": _nothing,
    "run_migrated": _migrated,
    "migration_refused": _nothing,
    "history_grew_long": _nothing,
    **dict.fromkeys(ENDINGS, _ended),
}
