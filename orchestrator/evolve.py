"""How each fact changes a run.

``evolve`` is the only thing that changes one. Folding a history over a fresh run gives the state that the
journal has.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.facts import ENDINGS, Fact
from orchestrator.run import Run

__all__ = ["evolve"]


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
    node = str(fact.node)
    run.active.pop(node, None)
    run.let_on[node] = run.let_on.get(node, 0) + 1


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
    run.let_on = {names.get(node, node): times for node, times in run.let_on.items()}


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
