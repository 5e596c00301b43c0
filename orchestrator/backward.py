"""Backward: what was done is undone in reverse order, journalled and retried like steps."""

from __future__ import annotations

from typing import Any

from contracts.envelope import derive_id
from contracts.errors import Terminal
from contracts.retry import Retry
from orchestrator.effects import (
    Abandon,
    AnswerParent,
    CancelRun,
    Dispatch,
    PublishEvent,
    SendCommand,
    SetTimer,
)
from orchestrator.nodes import Command, Step
from orchestrator.turn import Turn, error_of

__all__ = ["COMPENSATION_RETRY", "drop", "go_back", "turn_back", "undo"]

# A compensation that fails is an incident that wakes somebody, so it tries longer than a step does.
COMPENSATION_RETRY = Retry(attempts=10, first=0.5, factor=2.0, most=60.0)


def turn_back(turn: Turn, error: dict[str, Any], outcome: str) -> None:
    """Stop what is at work and begin to undo. ``outcome`` is failed or cancelled."""
    for node in list(turn.run.active):
        drop(turn, node)
    turn.record("compensation_started", error=error, outcome=outcome, undo=list(turn.run.undo))
    go_back(turn)


def drop(turn: Turn, node: str) -> None:
    """Stop what is at work for a node: nobody waits for it any more. A child run is cancelled."""
    turn.clear_timer(node)
    entry = turn.run.active[node]
    if entry["kind"] == "call" and "child" in entry:
        turn.then(CancelRun(entry["child"], node, f"{turn.run.flow} {turn.run.key!r} does not need it"))
    else:
        turn.then(Abandon(node))


def go_back(turn: Turn) -> None:
    """Undo the newest step that is not undone, or end when there is none."""
    if turn.run.paused:
        return
    if turn.run.undo:
        undo(turn, turn.run.undo[-1], attempt=1)
    else:
        _end(turn)


def undo(turn: Turn, name: str, *, attempt: int, dispatch: int = 1) -> None:
    """Start an attempt of a compensation: here, or at the step's service."""
    place = turn.place(name)
    node = place.node
    data = {"attempt": attempt, "dispatch": dispatch, "position": place.position}
    if not isinstance(node, Step) or node.compensate is None:
        raise Terminal(f"{name!r} has no compensation", code="wrong_flow")
    if not isinstance(node.compensate, Command):
        turn.record("compensation_scheduled", name, here=True, **data)
        turn.then(Dispatch(name, attempt, dispatch, back=True, timeout=node.timeout))
        return
    try:
        payload = turn.fill(node.compensate.data, node.compensate.type)
    except Terminal as error:
        turn.record("incident_raised", name, error=error_of(error, name), kind="compensation")
        return
    due = turn.now + node.timeout
    turn.record("compensation_scheduled", name, service=node.at, due=due, **data)
    undoes = node.command.type if node.command is not None else None
    turn.then(
        SendCommand(name, attempt, str(node.at), node.compensate.type, payload, back=True, undoes=undoes)
    )
    turn.then(SetTimer(name, due))


def _end(turn: Turn) -> None:
    run = turn.run
    for node in turn.plan.on_failure:
        try:
            data = turn.fill(node.data, node.type)
        except Terminal as error:
            turn.record("incident_raised", node.name, error=error_of(error, node.name), kind="emit")
            return
        event_id = derive_id("emit", run.id, node.name)
        turn.record("event_emitted", node.name, event_id=event_id, event_type=node.type)
        turn.then(PublishEvent(node.name, event_id, node.type, data, run.key))
    if run.backward == "cancelled":
        turn.record("run_cancelled", error=run.error)
    else:
        turn.record("run_compensated" if run.undone else "run_failed", error=run.error)
    if run.parent is not None:
        turn.then(AnswerParent(run.parent, run.status, None, run.error))
