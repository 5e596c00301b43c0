"""What comes back from the world: results, failures, events, timers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from contracts.envelope import derive_id
from contracts.errors import ContractError, Terminal
from orchestrator.backward import COMPENSATION_RETRY, go_back, undo
from orchestrator.effects import ForwardEvent, SetTimer, StandInLine
from orchestrator.facts import received
from orchestrator.forward import fail, leave, schedule, start_of
from orchestrator.happenings import ChildEnded, StepFailed, StepFinished, StepReturned, TurnCame
from orchestrator.line import WHOLE
from orchestrator.nodes import Call, Step
from orchestrator.run import Run
from orchestrator.turn import Turn, error_of

__all__ = [
    "SUSPECT_AFTER",
    "again",
    "child_ended",
    "event_arrived",
    "keep",
    "owner_changed",
    "parent_of_rerun",
    "rerun_id",
    "step_failed",
    "step_finished",
    "step_returned",
    "timer_fired",
    "turn_came",
]

SUSPECT_AFTER = 2  # processes that a step was lost with; from then on it starts when its turn comes

_LONGEST_RETRY_AFTER = 7 * 86_400.0  # seconds; what a service asks for beyond that is a mistake of its


def rerun_id(run_id: str, number: int) -> str:
    """The id of the ``number``-th run (from 1) that was made again from a run."""
    return derive_id("rerun", run_id, number)


def parent_of_rerun(run: Run) -> dict[str, Any] | None:
    """The call that a run answers when it is made again in place of ``run``, whose id that call knows."""
    return run.parent and {"child": run.id, **run.parent}


def step_finished(turn: Turn, done: StepFinished) -> None:
    """An attempt ended well. One that is not the newest here, or that nobody waits for, is ignored."""
    entry = _current(turn, done)
    if entry is None:
        return
    turn.clear_timer(done.node)
    if done.back:
        turn.record("compensation_completed", done.node, attempt=done.attempt)
        go_back(turn)
        return
    refusal = _refused(turn, done)
    if refusal is not None:
        # The work is done, only its result is unusable: the compensation stays registered.
        turn.record(
            "step_failed", done.node, attempt=done.attempt, error=refusal, definite=False, result_refused=True
        )
        fail(turn, done.node, refusal)
        return
    node = turn.place(done.node).node
    pivot = {"pivot": True} if isinstance(node, Step) and node.pivot else {}
    turn.record("step_completed", done.node, attempt=done.attempt, result=done.result, **pivot)
    leave(turn, done.node)


def step_failed(turn: Turn, failed: StepFailed) -> None:
    """An attempt ended badly: again later, or the end of it."""
    entry = _current(turn, failed, only_newest=True)
    if entry is None:
        return
    error = {"code": failed.code, "message": failed.message[:2000], "node": failed.node}
    _attempt_failed(turn, failed.node, entry, error, definite=failed.definite, after=failed.retry_after)


def step_returned(turn: Turn, returned: StepReturned) -> None:
    """The next owner starts it again, and this process is not one that the step was lost with."""
    if turn.run.in_hand(returned.node) == returned.dispatch:
        entry = turn.run.active[returned.node]
        back = {"kind": "compensation"} if entry["kind"] == "compensation" else {}
        turn.record("step_returned", returned.node, attempt=entry["attempt"], **back)


def timer_fired(turn: Turn, name: str) -> None:
    """A node's timer is due: a retry, the end of a sleep, a timeout. A stale one is ignored."""
    entry, due = turn.run.active.get(name), turn.run.due(name)
    if entry is None or due is None or turn.now < due:
        return
    if "retry_at" in entry:
        if not turn.run.paused:  # an attempt is something new; resume sets the timer again
            again(turn, name, entry, attempt=entry["attempt"] + 1)
        return
    _mind_the_place(turn, name, entry)
    match entry["kind"]:
        case "sleep":
            turn.record("timer_fired", name)
            leave(turn, name)
        case "wait":
            turn.record("wait_timed_out", name)
            message = f"nothing came for {name!r} in time"
            fail(turn, name, {"code": "wait_timed_out", "message": message, "node": name})
        case "step" | "compensation":
            error = {"code": "timeout", "message": "no reply in time", "node": name}
            _attempt_failed(turn, name, entry, error, definite=False, after=None)


def event_arrived(turn: Turn, message_id: str, type: str, data: Any) -> None:
    """Give an event to the wait for it, or keep it for one to come.

    Where a run is undone, or has ended otherwise than completed, nothing will wait for it, but a run that is
    made from it may: it gets what is kept here.
    """
    run = turn.run
    if run.reruns:
        turn.then(ForwardEvent(rerun_id(run.id, run.reruns), message_id, type, data))
        return
    if run.status == "completed":
        return
    for name, entry in run.active.items():
        if entry["kind"] == "wait" and entry["type"] == type and "stuck" not in entry:
            _mind_the_place(turn, name, entry)
            turn.clear_timer(name)
            turn.record(received(type), name, event_id=message_id, type=type, data=data)
            leave(turn, name)
            return
    if any(wait.type == type for wait in turn.plan.waits()):
        keep(turn, message_id, type, data)


def keep(turn: Turn, message_id: str, type: str, data: Any) -> None:
    """Keep an event until it is waited for. Past the limit the newest is refused, visibly."""
    rules, because = turn.rules, ""
    if len(turn.run.kept) >= rules.most_kept:
        because = f"{rules.most_kept} events wait to be taken already"
    elif (size := len(orjson.dumps(data))) > rules.most_bytes:
        because = f"it has {size} bytes, and {rules.most_bytes} is the limit"
    if because:
        turn.record("event_refused", None, event_id=message_id, type=type, because=because)
    else:
        turn.record("event_kept", None, event_id=message_id, type=type, data=data)


def owner_changed(turn: Turn, only: Collection[tuple[str, int]] | None = None) -> None:
    """The process that had this run's work is gone: start that again, a bounded number of times.

    ``only``: just these (node, dispatch).
    """
    for name, entry in list(turn.run.active.items()):
        dispatch = turn.run.in_hand(name)
        if dispatch is None or (only is not None and (name, dispatch) not in only):
            continue
        lost = dispatch - entry.get("returned", 0)
        if lost >= turn.rules.most_dispatches:
            message = f"its process went away {lost} times while it was at work"
            error = {"code": "crashes_its_worker", "message": message, "node": name}
            turn.record("incident_raised", name, error=error, kind=entry["kind"])
        elif lost >= SUSPECT_AFTER:
            left = turn.rules.most_dispatches - lost
            turn.then(StandInLine(name, dispatch, max(1, WHOLE // 10 ** (left - 1))))
        else:
            again(turn, name, entry, attempt=entry["attempt"], dispatch=dispatch + 1)
        if turn.run.backward and entry["kind"] == "step":
            return  # it could not start again, and everything else was stopped with it


def turn_came(turn: Turn, came: TurnCame) -> None:
    """What may have ended its processes starts again, with fewer beside it each time, at last with none.

    It counts as begun from here, so that what only stood in line when a process ended is not blamed.
    """
    if turn.run.in_hand(came.node) == came.dispatch:
        entry = turn.run.active[came.node]
        again(turn, came.node, entry, attempt=entry["attempt"], dispatch=came.dispatch + 1)


def child_ended(turn: Turn, child: ChildEnded) -> None:
    """The run that a call waits for has ended; or one that was made from it, where it had failed."""
    entry = turn.run.active.get(child.node)
    if entry is None:
        return
    if "stuck" in entry and child.status == "completed" and _calls(turn, child):
        _mind_the_place(turn, child.node, entry)
        turn.record("incident_resolved", child.node, actor=child.run_id, reason="it was made again")
    elif entry["kind"] == "call" and entry.get("child") == child.run_id:
        _mind_the_place(turn, child.node, entry)
    else:
        return
    turn.record("child_ended", child.node, child=child.run_id, status=child.status, result=child.result)
    if child.status == "completed":
        leave(turn, child.node)
        return
    message = f"the run of {child.node!r} ended as {child.status}: {(child.error or {}).get('message', '')}"
    fail(turn, child.node, {"code": "child_failed", "message": message, "node": child.node})


def _calls(turn: Turn, child: ChildEnded) -> bool:
    """Whether that child is the one of that node, which has forgotten it with its failure."""
    place = turn.plan.places.get(child.node)
    try:
        return (
            place is not None
            and isinstance(place.node, Call)
            and start_of(turn, place.node).run_id == child.run_id
        )
    except Terminal:
        return False


def _current(
    turn: Turn, outcome: StepFinished | StepFailed, *, only_newest: bool = False
) -> dict[str, Any] | None:
    """The entry that an outcome is about; None when it came too late to count.

    A service does a command once, whatever the attempt, so any of its "done" replies counts. What
    ran here counts only from the newest dispatch: an older one is a zombie's.
    """
    entry = turn.run.active.get(outcome.node)
    if entry is None or "stuck" in entry:
        return None
    if entry["kind"] != ("compensation" if outcome.back else "step"):
        return None
    if outcome.dispatch is not None or only_newest:
        same = entry["attempt"] == outcome.attempt and "retry_at" not in entry
        if not same or (outcome.dispatch is not None and entry["dispatch"] != outcome.dispatch):
            return None
    _mind_the_place(turn, outcome.node, entry)
    return entry


def _mind_the_place(turn: Turn, name: str, entry: dict[str, Any]) -> None:
    """Raises Terminal when a node stands elsewhere than when the run got there: what comes next is
    then not what was meant, so the run must not go on by itself."""
    place = turn.plan.places.get(name)
    if place is None or entry.get("position", place.position) != place.position:
        raise Terminal(
            f"{name!r} does not stand where it stood when the run got there: a version that has runs was "
            "changed in place; deploy it as it was, and the change as a new version",
            code="moved_step",
        )


def _refused(turn: Turn, done: StepFinished) -> dict[str, Any] | None:
    """Why a result can't be taken, if it can't."""
    size = len(orjson.dumps(done.result))
    if size > turn.rules.most_bytes:
        message = (
            f"the result has {size} bytes, and {turn.rules.most_bytes} is the limit: keep the data "
            "elsewhere and return where it is"
        )
        return {"code": "result_too_large", "message": message, "node": done.node}
    contract = turn.flow.result_type(done.node)
    # A service may be of a newer release than this process; a step here is of this very one.
    read = turn.rules.read if done.dispatch is None else turn.rules.check
    if contract is not None:
        try:
            read(contract, done.result)
        except ContractError as error:
            return error_of(error, done.node, "off_contract")
    return None


def _attempt_failed(
    turn: Turn,
    name: str,
    entry: dict[str, Any],
    error: dict[str, Any],
    *,
    definite: bool,
    after: float | None,
) -> None:
    back = entry["kind"] == "compensation"
    fact = "compensation_failed" if back else "step_failed"
    attempt = entry["attempt"]
    retry_at = None if definite else _retry_at(turn, name, entry, after)
    turn.clear_timer(name)
    if retry_at is not None:
        turn.record(fact, name, attempt=attempt, error=error, retry_at=retry_at)
        turn.then(SetTimer(name, retry_at))
        return
    turn.record(fact, name, attempt=attempt, error=error, definite=definite)
    if back:
        turn.record("incident_raised", name, error=error, kind="compensation")
    else:
        fail(turn, name, error)


def _retry_at(turn: Turn, name: str, entry: dict[str, Any], after: float | None) -> float | None:
    """When to try again; None when that was the last attempt."""
    node = turn.place(name).node
    if not isinstance(node, Step):
        return None
    back = entry["kind"] == "compensation"
    policy = COMPENSATION_RETRY if back else node.retry
    if policy is None or policy.gives_up(entry["attempt"]):
        return None
    asked = after if after is not None and 0.0 < after < _LONGEST_RETRY_AFTER else 0.0
    at = turn.now + max(policy.delay(entry["attempt"], turn.rules.rng), asked)
    if not back and node.deadline is not None and at >= entry["first"] + node.deadline:
        return None
    return at


def again(turn: Turn, name: str, entry: dict[str, Any], *, attempt: int, dispatch: int = 1) -> None:
    """Start a node's attempt again. What is wrong with it is that node's own trouble, and no other's."""
    back = entry["kind"] == "compensation"
    try:
        _mind_the_place(turn, name, entry)
        if back:
            undo(turn, name, attempt=attempt, dispatch=dispatch)
        else:
            schedule(turn, name, attempt=attempt, dispatch=dispatch)
    except Terminal as error:
        if back or error.code in ("moved_step", "wrong_flow"):
            turn.record("incident_raised", name, error=error_of(error, name), kind=entry["kind"])
        else:
            fail(turn, name, error_of(error, name))
