"""What people ask of a run: cancel, retry, pause, resume."""

from __future__ import annotations

from typing import Any

from contracts.errors import Terminal
from orchestrator.backward import go_back, turn_back, undo
from orchestrator.effects import ClearTimer, ForwardEvent, SetTimer, StartRun
from orchestrator.forward import enter, leave
from orchestrator.happenings import (
    CancelRequested,
    MigrationRequested,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
)
from orchestrator.migration import Move, can_move, positions_after
from orchestrator.nodes import Step
from orchestrator.outcomes import parent_of_rerun, rerun_id
from orchestrator.plan import Plan
from orchestrator.turn import Turn

__all__ = ["cancel", "migrate", "pause", "resume", "retry", "undone_before"]


def cancel(turn: Turn, asked: CancelRequested) -> None:
    """Undo the run, unless it only goes forward by now. A second cancel changes nothing."""
    run = turn.run
    if run.ended or run.backward:
        return
    if asked.parent is not None and (run.parent or {}).get("run_id") != asked.parent:
        return  # this key was run by another; it is not the parent's to cancel
    who = {"reason": asked.reason, "actor": asked.actor}
    if run.pivoted:
        turn.record("cancel_refused", None, because="the run is past its pivot and only goes forward", **who)
        return
    turn.record("cancel_requested", None, **who)
    if run.paused:
        turn.record("run_resumed", None, **who)
    error = {"code": "cancelled", "message": asked.reason or f"cancelled by {asked.actor}", "node": None}
    turn_back(turn, error, "cancelled")


def retry(turn: Turn, asked: RetryRequested) -> None:
    """Go on where an incident stopped the run; make an ended run again as a new, linked one.

    Whoever asked for the one must not get the other: of two who let a stuck run go on, the second may come
    when it has ended.
    """
    run = turn.run
    if run.ended:
        if asked.rerun in (None, run.reruns + 1):
            _rerun(turn, asked)
        return
    for name, entry in list(run.active.items()):
        if "stuck" in run.active.get(name, {}):
            turn.record("incident_resolved", name, actor=asked.actor, reason=asked.reason)
            _go_on(turn, name, entry["kind"])


def pause(turn: Turn, asked: PauseRequested) -> None:
    """Let what is at work end, and start nothing new."""
    if not turn.run.ended and not turn.run.paused:
        turn.record("run_paused", None, actor=asked.actor, reason=asked.reason)


def resume(turn: Turn, asked: ResumeRequested) -> None:
    """Start what the pause has held back."""
    run = turn.run
    if run.ended or not run.paused:
        return
    held = list(run.held)
    turn.record("run_resumed", None, actor=asked.actor, reason=asked.reason, released=held)
    if run.backward and not run.active:
        go_back(turn)
    for name, entry in list(run.active.items()):
        if "retry_at" in entry:  # one that came due meanwhile has not started
            turn.then(SetTimer(name, entry["retry_at"]))
    for name in held:
        # Starting one may have ended a fork that goes on with its first branch, and another is in it.
        if all(fork in run.arrived for fork, _ in turn.place(name).branches):
            enter(turn, name)


def migrate(turn: Turn, asked: MigrationRequested) -> None:
    """Go on as another version of the flow says, if that can be; the history says if not, and why."""
    run = turn.run
    if run.ended or run.version == asked.to:
        return
    new = turn.rules.flow(run.flow, asked.to)
    if new is None:
        raise Terminal(f"there is no version {asked.to} of flow {run.flow!r} here", code="unknown_flow")
    move = Move(asked.to, asked.renames, tuple(asked.without))
    who = {"from": run.version, "to": asked.to, "actor": asked.actor, "reason": asked.reason}
    reasons = can_move(run, turn.flow, new, move, turn.rules.check)
    if reasons:
        turn.record("migration_refused", None, because=reasons, **who)
        return
    moved = {
        node: due for node in run.active if move.name(node) != node and (due := run.due(node)) is not None
    }
    what = {"renames": dict(asked.renames), "positions": positions_after(run, new, move)}
    turn.record("run_migrated", None, **what, without=list(asked.without), **who)
    for node in moved:  # all of them first: where two change their names, one's new name is the other's old
        turn.then(ClearTimer(node))
    for node, due in moved.items():
        turn.then(SetTimer(move.name(node), due))


def _go_on(turn: Turn, name: str, kind: str) -> None:
    if turn.run.backward:
        if kind == "compensation":
            undo(turn, name, attempt=1)
        else:
            go_back(turn)
    elif kind == "gap":  # what the incident stands at is done; what comes next is not
        leave(turn, name)
    else:
        enter(turn, name)


def undone_before(plan: Plan, node: str) -> str | None:
    """The first step before ``node`` that an undone run has undone: nothing may be built on its result."""
    until = plan.places[node].position
    for name, place in plan.places.items():
        if place.position < until and isinstance(place.node, Step) and place.node.compensate is not None:
            return name
    return None


def _rerun(turn: Turn, asked: RetryRequested) -> None:
    """A history is never edited: what is done again is a run of its own, linked to this one."""
    run = turn.run
    number = run.reruns + 1
    known: dict[str, Any] = {}
    if asked.from_node is not None:
        place = turn.plan.places.get(asked.from_node)
        if place is None or place.branches:
            _refuse_rerun(turn, asked, f"{asked.from_node!r} is no node that a run can begin at")
            return
        undone = undone_before(turn.plan, asked.from_node) if run.backward else None
        if undone is not None:
            _refuse_rerun(turn, asked, f"{undone!r} comes before {asked.from_node!r} and was undone")
            return
        before = [name for name, other in turn.plan.places.items() if other.position < place.position]
        known = {name: run.results[name] for name in before if name in run.results}
    new_id = rerun_id(run.id, number)
    turn.record("rerun_started", None, run_id=new_id, number=number, actor=asked.actor, reason=asked.reason)
    turn.then(
        StartRun(
            new_id,
            run.flow,
            run.version,
            run.key,
            run.input,
            linked_from=run.id,
            begin_at=asked.from_node,
            results=known,
            parent=parent_of_rerun(run),
        )
    )
    for kept in run.kept:  # its message goes after the start's, and the new run keeps it in turn
        turn.then(ForwardEvent(new_id, kept["event_id"], kept["type"], kept["data"]))


def _refuse_rerun(turn: Turn, asked: RetryRequested, because: str) -> None:
    turn.record("rerun_refused", asked.from_node, because=because, actor=asked.actor, reason=asked.reason)
