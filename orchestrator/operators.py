"""What people ask of a run: cancel, retry, pause, resume."""

from __future__ import annotations

from typing import Any

from contracts.errors import Terminal
from orchestrator.backward import go_back, turn_back, undo
from orchestrator.effects import StartRun
from orchestrator.forward import enter, fail
from orchestrator.happenings import CancelRequested, PauseRequested, ResumeRequested, RetryRequested
from orchestrator.outcomes import rerun_id
from orchestrator.turn import Turn, error_of

__all__ = ["cancel", "pause", "resume", "retry"]


def cancel(turn: Turn, asked: CancelRequested) -> None:
    """Undo the run, unless it only goes forward by now. A second cancel changes nothing."""
    run = turn.run
    if run.ended or run.backward:
        return
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
    """Go on where an incident stopped the run; make an ended run again as a new, linked one."""
    run = turn.run
    if run.ended:
        _rerun(turn, asked)
        return
    for name, entry in list(run.active.items()):
        if "stuck" in entry:
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
    for name in held:
        enter(turn, name)


def _go_on(turn: Turn, name: str, kind: str) -> None:
    if turn.run.backward:
        if kind == "compensation":
            undo(turn, name, attempt=1)
        else:
            go_back(turn)
        return
    try:
        enter(turn, name)
    except Terminal as error:
        fail(turn, name, error_of(error, name))


def _rerun(turn: Turn, asked: RetryRequested) -> None:
    """A history is never edited: what is done again is a run of its own, linked to this one."""
    run = turn.run
    number = run.reruns + 1
    known: dict[str, Any] = {}
    if asked.from_node is not None:
        place = turn.plan.places.get(asked.from_node)
        if place is None or place.branches:
            raise Terminal(f"{asked.from_node!r} is no node that a run can begin at", code="no_such_node")
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
        )
    )
