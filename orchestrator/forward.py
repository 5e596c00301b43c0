"""Forward: from the end of one node to the start of the next."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import orjson

from contracts.envelope import derive_id
from contracts.errors import Terminal
from orchestrator.backward import drop, turn_back
from orchestrator.effects import (
    AnswerParent,
    Dispatch,
    PublishEvent,
    SendCommand,
    SetTimer,
    StartRun,
)
from orchestrator.facts import received
from orchestrator.flow import run_id_of
from orchestrator.nodes import Call, Emit, Parallel, Sleep, Step, Wait, When
from orchestrator.plan import Place
from orchestrator.turn import Turn, error_of

__all__ = ["enter", "fail", "leave", "schedule", "start_of"]


def enter(turn: Turn, name: str | None, after: Place | None = None) -> None:
    """Start a node, and go on as far as nothing has to be waited for.

    ``name`` None is the end of the sequence that ``after`` stands in.
    """
    while name is not None:
        if turn.run.backward or turn.run.ended:
            return
        place = after = turn.place(name)
        if turn.run.paused:
            turn.record("node_held", name)
            return
        try:
            if not _start(turn, place):
                return
            name = _choose(turn, place) if isinstance(place.node, When) else place.next
        except Terminal as error:
            fail(turn, place.node.name, error_of(error, place.node.name))
            return
    if after is not None:
        _end_sequence(turn, after)


def leave(turn: Turn, name: str) -> None:
    """A node is done: go on with what comes after it."""
    place = turn.place(name)
    enter(turn, place.next, place)


def fail(turn: Turn, node: str, error: dict[str, Any]) -> None:
    """A node can't be done: back before the pivot, an incident after it."""
    if turn.run.pivoted or turn.place(node).pivoted:
        turn.clear_timer(node)
        turn.record("incident_raised", node, error=error, kind="step")
    else:
        turn_back(turn, error, "failed")


def schedule(turn: Turn, name: str, *, attempt: int, dispatch: int = 1) -> None:
    """Start an attempt of a step: here, or at its service. Raises Terminal when its data is wrong."""
    run, place = turn.run, turn.place(name)
    node = place.node
    if not isinstance(node, Step):
        raise Terminal(f"{name!r} is no step", code="wrong_flow")
    data: dict[str, Any] = {"attempt": attempt, "dispatch": dispatch, "position": place.position}
    if node.compensate is not None and not place.pivoted:
        # Registered before the step starts: one whose outcome stays unknown is undone too.
        data["undo"] = True
    due = turn.now + node.timeout
    if node.deadline is not None:
        due = min(due, run.active.get(name, {}).get("first", turn.now) + node.deadline)
    if node.command is None or node.at is None:
        turn.record("step_scheduled", name, here=True, **data)
        turn.then(Dispatch(name, attempt, dispatch, timeout=max(0.0, due - turn.now)))
        return
    payload = turn.fill(node.command.data, node.command.type)
    turn.record("step_scheduled", name, service=node.at, due=due, **data)
    turn.then(SendCommand(name, attempt, node.at, node.command.type, payload))
    turn.then(SetTimer(name, due))


def _start(turn: Turn, place: Place) -> bool:
    """Start what stands here; whether the run can go on at once."""
    name = place.node.name
    match place.node:
        case Step():
            schedule(turn, name, attempt=1)
            return False
        case Emit() as node:
            publish(turn, node)
            return True
        case Wait() as node:
            return _wait(turn, node, place.position)
        case Sleep(seconds=seconds):
            due = turn.now + seconds
            turn.record("timer_started", name, due=due, position=place.position)
            turn.then(SetTimer(name, due))
            return False
        case Parallel():
            turn.record("branches_started", name, branches=len(place.heads))
            for head in place.heads:
                if name in turn.run.arrived:  # a branch that ended at once may have joined the others
                    enter(turn, head)
            return False
        case Call() as node:
            _call(turn, node, place.position)
            return False
        case When():
            return True


def publish(turn: Turn, node: Emit) -> None:
    """Put an event into the outbox. The id comes from the run and the node: again is the same event."""
    data = turn.fill(node.data, node.type)
    subject = turn.fill(node.subject, None) if node.subject else turn.run.key
    event_id = derive_id("emit", turn.run.id, node.name)
    turn.record("event_emitted", node.name, event_id=event_id, event_type=node.type)
    turn.then(PublishEvent(node.name, event_id, node.type, data, str(subject)))


def _wait(turn: Turn, node: Wait, position: int) -> bool:
    for kept in turn.run.kept:
        if kept["type"] == node.type:
            turn.record(received(node.type), node.name, early=True, **kept)
            return True
    if node.timeout is None:
        turn.record("wait_started", node.name, type=node.type, position=position)
        return False
    due = turn.now + node.timeout
    turn.record("wait_started", node.name, type=node.type, due=due, position=position)
    turn.then(SetTimer(node.name, due))
    return False


def _call(turn: Turn, node: Call, position: int) -> None:
    order = start_of(turn, node)
    turn.record("child_started", node.name, child=order.run_id, flow=order.flow, position=position)
    turn.then(order)


def start_of(turn: Turn, node: Call) -> StartRun:
    """The run that a call asks for. Raises Terminal when it can't be told."""
    flow = turn.rules.flow(node.flow, node.version or 0)
    if flow is None:
        raise Terminal(f"there is no flow {node.flow!r} in this app", code="unknown_flow")
    payload = turn.fill(node.input, flow.input_type)
    key = payload.get(flow.key)
    if not isinstance(key, str | int) or isinstance(key, bool) or key == "":
        raise Terminal(
            f"the input of {node.name!r} has no {flow.key!r}, the key of flow {flow.name!r}: a text or a "
            "whole number",
            code="missing_key",
        )
    child, key = run_id_of(turn.run.workspace, flow.name, str(key)), str(key)
    return StartRun(child, flow.name, flow.version, key, payload, node=node.name)


def _choose(turn: Turn, place: Place) -> str | None:
    """Where a choice leads. Raises Terminal when its condition fails."""
    node = place.node
    if not isinstance(node, When):
        raise Terminal(f"{node.name!r} is no choice", code="wrong_flow")
    # A copy, so that a predicate that changes what it gets does not change the run.
    document = orjson.loads(orjson.dumps(turn.run.document()))
    try:
        if callable(node.condition):
            yes = bool(node.condition(document))
        else:
            yes = jsonschema_rs.is_valid(dict(node.condition), document)
    except Exception as error:  # a user's predicate may raise anything; it fails the run, not the engine
        raise Terminal(f"{type(error).__name__}: {error}", code="bad_condition") from error
    turn.record("choice_taken", node.name, branch="then" if yes else "otherwise")
    return place.heads[0 if yes else 1]


def _end_sequence(turn: Turn, place: Place) -> None:
    if turn.run.backward or turn.run.ended:
        return
    fork = place.joins
    if fork is None:
        if not turn.run.active and not turn.run.held:
            _complete(turn)
        return
    branch = next(number for name, number in place.branches if name == fork)
    turn.record("branch_ended", fork, branch=branch)
    node = turn.place(fork).node
    if not isinstance(node, Parallel):
        raise Terminal(f"{fork!r} is no fork", code="wrong_flow")
    if node.mode == "all" and len(turn.run.arrived[fork]) < len(node.branches):
        return
    abandoned = [name for name in turn.plan.inside(fork) if name in turn.run.active]
    for name in abandoned:
        drop(turn, name)
    abandoned += [name for name in turn.plan.inside(fork) if name in turn.run.held]
    inner = [name for name in turn.plan.inside(fork) if name in turn.run.arrived]
    turn.record("branches_joined", fork, abandoned=[*abandoned, *inner])
    leave(turn, fork)


def _complete(turn: Turn) -> None:
    try:
        result = turn.fill(dict(turn.flow.result), None) if turn.flow.result is not None else None
    except Terminal as error:
        # Everything is done; only the summary can't be made. That is no reason to undo it.
        result = {"error": error_of(error, None)}
    turn.record("run_completed", result=result)
    answer_parent(turn)


def answer_parent(turn: Turn) -> None:
    """Tell the run that called this one, if one did."""
    run = turn.run
    if run.parent is not None:
        turn.then(AnswerParent(run.parent, run.status, run.result, run.error))
