"""What a run's history says about each of its nodes: attempts, waits, outcome, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.dashboard.words import duration

__all__ = ["UNDO", "Attempt", "Mark", "NodeProgress", "Progress", "progress_of"]

UNDO = ":c"  # a compensation stands beside its step, under the step's name and this


@dataclass(slots=True)
class Attempt:
    """One try of a node. ``ended`` is None while it is at work."""

    number: int
    started: float
    ended: float | None = None
    outcome: str = "running"  # running, done, failed, skipped
    error: str | None = None


@dataclass(slots=True)
class NodeProgress:
    """One node of one run, or its compensation (``kind`` is then "compensation")."""

    node: str
    kind: str = "step"  # step, wait, sleep, emit, choice, parallel, call, compensation
    status: str = "running"  # running, retrying, waiting, done, failed, stuck, stopped
    started: float = 0.0
    ended: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    retry_at: float | None = None
    result: Any = None
    error: str | None = None
    emitted: list[tuple[str, str, float]] = field(default_factory=list)  # event id, type, when
    received: list[tuple[str, str, float]] = field(default_factory=list)
    cause: str | None = None
    child: str | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The node's name, a compensation's being its step's."""
        return self.node.removesuffix(UNDO)

    def why(self) -> str:
        """In a sentence: why this node stands where it stands."""
        failed = [attempt for attempt in self.attempts if attempt.outcome == "failed"]
        tries = f" after {len(self.attempts)} attempts" if len(self.attempts) > 1 else ""
        match self.status:
            case "failed":
                return f"Failed{tries}: {self.error or 'no reason was recorded'}"
            case "stuck":
                return f"Stuck{tries}, and waits for an operator: {self.error or 'no reason was recorded'}"
            case "retrying":
                when = f"; the next attempt is due {self.note}" if self.note else ""
                return f"Attempt {len(self.attempts)} failed: {self.error or 'no reason was recorded'}{when}"
            case "waiting":
                return self.note or "Waits."
            case "running" if failed:
                return f"Attempt {len(self.attempts)} is at work; the one before failed: {failed[-1].error}"
            case "running":
                return "Is at work: no outcome has been recorded yet."
            case "done" if failed:
                return f"Done{tries}; the last failure: {failed[-1].error}"
            case "done" if tries:
                return f"Done{tries}."
            case "done" if self.attempts:
                return "Done at the first attempt."
            case _:
                return self.note


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to the run as a whole: paused, cancelled, an incident."""

    type: str
    at: float
    text: str
    seq: int


@dataclass(slots=True)
class Progress:
    """All nodes in the order in which they began, and the marks; ``begins_at`` where it is not the first."""

    nodes: dict[str, NodeProgress] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    begins_at: str | None = None


# Marks that change their node too.
_BOTH = {"incident_raised", "incident_resolved", "signal_received"}
_ENDS = {"run_completed", "run_failed", "run_compensated", "run_cancelled"}
_MARKS = {
    "cancel_requested": "cancel asked for",
    "cancel_refused": "cancel refused",
    "event_refused": "not kept:",
    "incident_raised": "incident",
    "incident_resolved": "incident resolved",
    "run_paused": "paused",
    "run_resumed": "resumed",
    "signal_received": "signal",
    "compensation_started": "going back: compensation began",
    "rerun_started": "started again",
    "rerun_refused": "not started again",
    "run_repaired": "what it waited for was lost, and is made up for",
    "run_migrated": "moved",
    "migration_refused": "not moved",
    "run_completed": "completed",
    "run_failed": "failed",
    "run_compensated": "compensated",
    "run_cancelled": "cancelled",
}


def progress_of(history: Sequence[Mapping[str, Any]]) -> Progress:
    """Folds facts, oldest first. Each needs ``type``, ``node``, ``at``, ``seq`` and ``data`` (decoded)."""
    progress = Progress()
    for fact in history:
        type_, node, at = str(fact["type"]), fact.get("node"), float(fact["at"])
        data: Mapping[str, Any] = fact.get("data") or {}
        if type_ == "run_started" and data.get("linked_from"):
            _take_over(progress, at, data)
        if type_ in _MARKS:
            progress.marks.append(Mark(type_, at, _mark_text(type_, node, data), int(fact.get("seq") or 0)))
            if type_ in _ENDS:
                _close(progress, at, "The run ended before this did")
            if type_ == "compensation_started":
                _close(progress, at, "Stopped when the run began to go back")
            if type_ == "run_migrated":
                _rename(progress, data.get("renames") or {})
        if node and (type_ not in _MARKS or type_ in _BOTH):
            _apply(progress, type_, str(node), at, data)
        if type_ == "branches_joined":
            _close(progress, at, "Stopped, since the others were enough", data.get("abandoned") or ())
    return progress


def _apply(progress: Progress, type_: str, node: str, at: float, data: Mapping[str, Any]) -> None:
    undo = type_.startswith("compensation_") or data.get("kind") == "compensation"
    if type_ == "incident_resolved" and node + UNDO in progress.nodes:
        undo = progress.nodes[node + UNDO].status == "stuck"
    key = node.removesuffix(UNDO) + UNDO if undo else node
    it = progress.nodes.get(key)
    if it is None:
        it = progress.nodes[key] = NodeProgress(key, started=at, kind="compensation" if undo else "step")
    it.cause = it.cause or data.get("cause")
    match type_:
        case "step_scheduled" | "compensation_scheduled":
            _begin(it, at, data)
        case "step_completed" | "compensation_completed":
            _settle(it, at, "done", data)
            it.result = data.get("result")
        case "step_failed" | "compensation_failed":
            if "retry_at" in data:
                _retry(it, at, data)
            else:
                _settle(it, at, "failed", data)
        case "step_returned":
            _end_attempt(it, at, "skipped", None)
            it.status, it.note = "waiting", "Its process was stopping, and gave it back: it starts again."
        case "wait_started":
            it.kind, it.status, it.started = "wait", "waiting", at
            it.note = _waits_for(data, at)
        case "event_received" | "signal_received":
            it.kind, it.status, it.ended = "wait", "done", at
            what = _event_type(data) or (
                f"signal {data['name']}" if data.get("name") else "what it waited for"
            )
            it.received.append((str(data.get("event_id") or ""), what, at))
            it.result = data.get("data")
            it.note = f"{what} came" + (f", sent by {data['actor']}." if data.get("actor") else ".")
        case "wait_timed_out":
            it.kind, it.status, it.ended = "wait", "failed", at
            it.error = "what it waits for did not come in time"
        case "event_emitted":
            it.kind, it.status, it.ended = "emit", "done", at
            it.emitted.append((str(data.get("event_id") or ""), _event_type(data), at))
            it.note = f"Emitted {_event_type(data) or 'an event'}."
        case "timer_started":
            it.kind, it.status, it.started = "sleep", "waiting", at
            it.note = "Sleeps."
        case "timer_fired":
            it.kind, it.status, it.ended, it.note = "sleep", "done", at, "Slept."
        case "node_held":
            it.status, it.note = "waiting", "Held back: the run is paused."
        case _:
            _apply_composite(it, type_, at, data)


def _apply_composite(it: NodeProgress, type_: str, at: float, data: Mapping[str, Any]) -> None:
    match type_:
        case "choice_taken":
            it.kind, it.status, it.ended = "choice", "done", at
            it.note = _choice(data)
        case "branches_started":
            it.kind, it.note = "parallel", "Its branches are at work."
        case "branch_ended":
            it.kind = "parallel"
        case "branches_joined":
            it.kind, it.status, it.ended = "parallel", "done", at
            it.note = "The branches that it needs have come together."
        case "child_started":
            it.kind, it.status, it.child = "call", "waiting", data.get("child")
            it.note = f"Waits for run {data.get('child') or 'of a child flow'}."
        case "child_ended":
            it.kind, it.ended = "call", at
            it.status = "done" if data.get("status") == "completed" else "failed"
            it.error = _error_text(data)
            it.result = data.get("result")
        case "incident_raised":
            _settle(it, at, "failed", data)
            it.status = "stuck"
        case "incident_resolved":
            it.status, it.note = "waiting", "Its incident was resolved."


def _take_over(progress: Progress, at: float, data: Mapping[str, Any]) -> None:
    """A run that was made from another one has the results of what comes before the node it begins at."""
    progress.begins_at = data.get("begin_at")
    for node, result in (data.get("results") or {}).items():
        note = "Taken over from the run that this one was made from."
        progress.nodes[node] = NodeProgress(
            node, status="done", started=at, ended=at, result=result, note=note
        )


def _rename(progress: Progress, renames: Mapping[str, str]) -> None:
    """What is under way goes on under its new name; what is done stays as it was."""
    for before, after in renames.items():
        it = progress.nodes.get(before)
        if it is not None and it.status in ("running", "waiting", "retrying", "stuck"):
            it.node = after
    progress.nodes = {it.node: it for it in progress.nodes.values()}


def _begin(it: NodeProgress, at: float, data: Mapping[str, Any]) -> None:
    number = int(data.get("attempt") or len(it.attempts) + 1)
    if not it.attempts:
        it.started = at
    elif it.attempts[-1].ended is None:
        _end_attempt(it, at, "skipped", "its process went away while it was at work")
    it.attempts.append(Attempt(number, at))
    it.status, it.ended, it.retry_at, it.note = "running", None, None, ""


def _settle(it: NodeProgress, at: float, outcome: str, data: Mapping[str, Any]) -> None:
    _end_attempt(it, at, outcome, _error_text(data))
    it.status, it.ended, it.retry_at = outcome, at, None
    if outcome == "failed":
        it.error = _error_text(data)


def _retry(it: NodeProgress, at: float, data: Mapping[str, Any]) -> None:
    error = _error_text(data)
    _end_attempt(it, at, "failed", error)
    it.status, it.ended = "retrying", None
    it.error = error or it.error
    due = data.get("retry_at")
    it.retry_at = float(due) if due is not None else None
    it.note = f"{duration(it.retry_at - at)} after the failure" if it.retry_at else ""


def _end_attempt(it: NodeProgress, at: float, outcome: str, error: str | None) -> None:
    current = it.attempts[-1] if it.attempts else None
    if current is None or current.ended is not None:
        if outcome == "failed" and current is not None and current.outcome == "failed":
            return  # a failure told twice: failed, then retried
        started = it.retry_at if it.retry_at is not None and it.retry_at <= at else it.started
        current = Attempt(len(it.attempts) + 1, min(started, at))
        it.attempts.append(current)
    current.ended, current.outcome, current.error = at, outcome, error


def _close(progress: Progress, at: float, because: str, only: Collection[str] | None = None) -> None:
    """Nobody waits any more for what is open, or for ``only`` these nodes."""
    for name, node in progress.nodes.items():
        if only is not None and name not in only:
            continue
        if node.status in ("running", "waiting", "retrying", "stuck"):
            node.note = f"{because} ({duration(at - node.started)} after it began)."
            node.status, node.ended = "stopped", at
            for attempt in node.attempts:
                if attempt.ended is None:
                    attempt.ended, attempt.outcome = at, "skipped"


def _error_text(data: Mapping[str, Any]) -> str | None:
    error = data.get("error")
    if isinstance(error, Mapping):
        code, message = error.get("code") or error.get("type"), error.get("message")
        return f"{code}: {message}" if code and message else str(code or message or "")
    return str(error) if error else None


def _event_type(data: Mapping[str, Any]) -> str:
    name = str(data.get("event_type") or data.get("type") or "")
    return f"signal {name.removeprefix('signal:')}" if name.startswith("signal:") else name


def _waits_for(data: Mapping[str, Any], at: float) -> str:
    due = data.get("due")
    limit = f", for {duration(float(due) - at)} at most" if isinstance(due, int | float) else ""
    return f"Waits for {_event_type(data) or 'an event'}{limit}."


def _choice(data: Mapping[str, Any]) -> str:
    taken = data.get("branch", data.get("taken"))
    match taken:
        case True | "then" | 0:
            return "The condition held."
        case False | "otherwise" | 1:
            return "The condition did not hold."
        case _:
            return f"Took {taken}."


def _mark_text(type_: str, node: object, data: Mapping[str, Any]) -> str:
    parts = [_MARKS[type_]]
    if type_ == "signal_received" and data.get("name"):
        parts.append(str(data["name"]))
    elif type_ == "event_refused":
        parts.append(_event_type(data))
    elif node:
        parts.append(f"at {str(node).removesuffix(UNDO)}")
    if "to" in data and "from" in data:
        parts.append(f"from version {data['from']} to {data['to']}")
    if because := data.get("because"):
        parts.append(f"({'; '.join(map(str, because)) if isinstance(because, list) else because})")
    reason = data.get("reason") or _error_text(data)
    text = " ".join(parts) + (f": {reason}" if reason else "")
    return f"{text} (by {data['actor']})" if data.get("actor") else text
