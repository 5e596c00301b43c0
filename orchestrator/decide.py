"""``decide``: a run and what happened to it in, facts and effects out.

Pure: clock, randomness and contracts come in as ``now`` and ``rules``; nothing is read or written. The
run that is given is not changed.
"""

from __future__ import annotations

from typing import Any

from contracts.errors import Terminal
from orchestrator import operators, outcomes, repairs
from orchestrator.flow import Flow
from orchestrator.forward import enter
from orchestrator.happenings import (
    CancelRequested,
    ChildEnded,
    EventArrived,
    Happening,
    MigrationRequested,
    NotTaken,
    OwnerChanged,
    PauseRequested,
    Reconciled,
    ResumeRequested,
    RetryRequested,
    SignalArrived,
    StartRequested,
    StepFailed,
    StepFinished,
    StepReturned,
    TimerFired,
    TurnCame,
)
from orchestrator.run import Run
from orchestrator.turn import Decision, Rules, Turn, error_of

__all__ = ["begin", "decide"]


def begin(flow: Flow, start: StartRequested, *, now: float, rules: Rules) -> Decision:
    """The first turn of a run."""
    run = Run(
        id=start.run_id,
        partition=start.partition,
        workspace=start.workspace,
        flow=flow.name,
        version=flow.version,
        key=start.key,
        correlation=start.correlation,
        input=start.input,
        input_digest=start.input_digest,
        start_id=start.message_id,
        created_at=now,
        updated_at=now,
        linked_from=start.linked_from,
        parent=start.parent,
        answer_to=start.answer_to,
        traceparent=start.traceparent,
    )
    turn = Turn(run, flow, now, rules)
    about: dict[str, Any] = {"flow": flow.name, "version": flow.version, "cause": start.causation}
    first = start.begin_at if start.begin_at in turn.plan.places else turn.plan.first
    if start.linked_from:
        about |= {"linked_from": start.linked_from, "results": start.results, "begin_at": first}
        about["pivoted"] = turn.place(first).pivoted
    turn.record("run_started", None, key=start.key, **about)
    for event in start.early:
        outcomes.keep(turn, event.message_id, event.type, event.data)
    untried, recorded = run.copy(), len(turn.facts)
    try:
        enter(turn, first)
    except Exception as error:
        # As in ``decide``: the run is there, with its incident, and no start is lost.
        turn = Turn(untried, flow, now, rules, turn.facts[:recorded])
        _raise_incident(turn, None, error)
    return turn.decision()


def decide(run: Run, flow: Flow, happening: Happening, *, now: float, rules: Rules) -> Decision:
    """What follows from one happening. A happening that does not matter any more gives no facts.

    Never raises for what a flow, its data or its functions do: that becomes the run's own incident.
    """
    turn = Turn(run.copy(), flow, now, rules)
    try:
        _mind_the_limits(turn, happening)
        _dispatch(turn, happening)
    except Exception as error:
        # The run and the flow's code do not fit each other (a version edited in place, say). The
        # other runs of the partition must not suffer from it, whatever it is.
        turn = Turn(run.copy(), flow, now, rules)
        if not run.ended:
            if isinstance(happening, EventArrived | SignalArrived):
                outcomes.keep(turn, *_came(happening))  # it comes once: for when the incident is resolved
            _raise_incident(turn, happening, error)
    return turn.decision()


def _came(happening: EventArrived | SignalArrived) -> tuple[str, str, Any]:
    """The message's id, the type that a wait goes by, and the data."""
    type = happening.type if isinstance(happening, EventArrived) else f"signal:{happening.name}"
    return happening.message_id, type, happening.data


def _raise_incident(turn: Turn, happening: Happening | None, error: Exception) -> None:
    """Stop the node that it is about, where that can be told; else one at work, else the first."""
    active = turn.run.active
    named = getattr(happening, "node", None) or getattr(happening, "name", None)
    node = named if named in active else next(iter(active), turn.plan.first)
    if "stuck" not in active.get(node, {}):
        turn.clear_timer(node)
        kind = active.get(node, {}).get("kind", "step")
        turn.record("incident_raised", node, error=error_of(error, node, "engine"), kind=kind)


def _dispatch(turn: Turn, happening: Happening) -> None:
    match happening:
        case StepFinished():
            outcomes.step_finished(turn, happening)
        case StepFailed():
            outcomes.step_failed(turn, happening)
        case StepReturned():
            outcomes.step_returned(turn, happening)
        case EventArrived() | SignalArrived():
            outcomes.event_arrived(turn, *_came(happening))
        case TimerFired(name=name):
            outcomes.timer_fired(turn, name)
        case Reconciled():
            repairs.reconciled(turn, happening)
        case OwnerChanged():
            outcomes.owner_changed(turn)
        case TurnCame():
            outcomes.turn_came(turn, happening)
        case ChildEnded():
            outcomes.child_ended(turn, happening)
        case CancelRequested():
            operators.cancel(turn, happening)
        case RetryRequested():
            operators.retry(turn, happening)
        case PauseRequested():
            operators.pause(turn, happening)
        case ResumeRequested():
            operators.resume(turn, happening)
        case MigrationRequested():
            operators.migrate(turn, happening)
        case NotTaken(reason=reason):
            raise Terminal(f"what happened can't be kept: {reason}", code="not_taken")
        case StartRequested():
            raise Terminal("a run is started once", code="wrong_flow")


def _mind_the_limits(turn: Turn, happening: Happening) -> None:
    """A history without end is a run that nobody can load: stop it while somebody can still look."""
    run, most = turn.run, turn.rules.most_facts
    if run.ended or run.backward or isinstance(happening, CancelRequested):
        return  # the way back is bounded, and it must stay open
    if run.seq >= most:
        raise Terminal(
            f"the history has {run.seq} facts, and {most} is the limit: cancel the run, or start it anew",
            code="history_too_long",
        )
