"""Making up for what was lost: what the reconciler found becomes facts of the run, and effects."""

from __future__ import annotations

from contracts.errors import Terminal
from orchestrator.effects import SetTimer
from orchestrator.forward import start_of
from orchestrator.happenings import Reconciled
from orchestrator.nodes import Call
from orchestrator.outcomes import again, owner_changed
from orchestrator.plan import Plan
from orchestrator.run import Run
from orchestrator.turn import Turn

__all__ = ["gaps", "reconciled"]


def reconciled(turn: Turn, found: Reconciled) -> None:
    """Make up for what was lost, each with a fact; what has moved on meanwhile is left alone."""
    run = turn.run
    if run.ended:
        return
    for name, due in found.timers:
        if run.due(name) == due and not (run.paused and "retry_at" in run.active[name]):
            turn.record("run_repaired", name, reason="timer_lost")
            turn.then(SetTimer(name, due))
    lost = [(name, dispatch) for name, dispatch in found.lost if run.in_hand(name) == dispatch]
    for name, _ in lost:
        turn.record("run_repaired", name, reason="work_lost")
    if lost:
        owner_changed(turn, only=lost)
    for name, reason in found.asks:
        _ask_again(turn, name, reason)
    if found.nothing and not (run.active or run.paused):
        _list_as_stuck(turn)


def gaps(plan: Plan, run: Run) -> list[tuple[str, bool]]:
    """Where a run that goes forward stands with nothing at work: (node, whether that node is done).

    Told by what has left a result, and by the forks that are open: one place, or one for each branch
    that has not ended. A node that leaves no result (an emit, a sleep) may be done again from there.
    """
    return _gaps(plan, run, ())


def _gaps(plan: Plan, run: Run, within: tuple[tuple[str, int], ...]) -> list[tuple[str, bool]]:
    names = [name for name, place in plan.places.items() if place.branches == within]
    done = [name for name in names if name in run.arrived or _has_result(plan, run, name)]
    if not done:
        return [(names[0], False)]
    last = done[-1]
    if last not in run.arrived:
        return [(last, True)]
    found: list[tuple[str, bool]] = []
    for branch in range(len(plan.places[last].heads)):
        if branch not in run.arrived[last]:
            found += _gaps(plan, run, (*within, (last, branch)))
    return found or [(last, True)]


def _has_result(plan: Plan, run: Run, name: str) -> bool:
    return name in run.results or any(inner in run.results for inner in plan.inside(name))


def _ask_again(turn: Turn, name: str, reason: str) -> None:
    """Ask a service, or for a run, once more. Whoever has done it answers, and does not do it again."""
    entry = turn.run.active.get(name)
    if entry is None or "stuck" in entry:
        return
    if reason == "command_lost":
        if entry.get("here") or turn.run.due(name) is not None:
            return
        turn.record("run_repaired", name, reason=reason)
        again(turn, name, entry, attempt=entry["attempt"])
        return
    node = turn.place(name).node
    if not isinstance(node, Call):
        raise Terminal(f"{name!r} is no call", code="wrong_flow")
    order = start_of(turn, node)
    if order.run_id != entry["child"]:
        raise Terminal(
            f"{name!r} has called {entry['child']}, and would call {order.run_id}", code="wrong_flow"
        )
    turn.record("run_repaired", name, reason=reason)
    turn.then(order)


def _list_as_stuck(turn: Turn) -> None:
    """An incident at each place where the run stands, so that a retry goes on there, and repeats nothing."""
    run = turn.run
    error = {"code": "nothing_to_wait_for", "message": "nothing that could move it is left", "node": None}
    if run.backward:
        place = (run.undo[-1], "compensation") if run.undo else (turn.plan.first, "gap")
        turn.record("incident_raised", place[0], error=error, kind=place[1])
        return
    for name, done in [(name, False) for name in run.held] or gaps(turn.plan, run):
        turn.record("incident_raised", name, error=error, kind="gap" if done else "step")
