"""From rows of the store to drafts: rows and lanes with times that have no place on an axis yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.envelope import derive_id
from gateway.dashboard.progress import UNDO, NodeProgress, Progress, progress_of
from gateway.dashboard.story_model import Action, Lane, Row
from gateway.dashboard.words import Status, duration, status

__all__ = ["Draft", "Edge", "LaneDraft", "Moment", "Stretch", "error_line", "reaction_draft", "run_lane"]

RowData = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment in seconds; ``end`` is None while it lasts."""

    kind: str
    start: float
    end: float | None
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A dot in seconds."""

    kind: str
    at: float
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Edge:
    """At ``at``, ``source`` caused ``target``; both are rows' ids."""

    at: float
    source: str
    target: str


@dataclass(slots=True)
class Draft:
    """A row, and its stretches and moments in seconds."""

    row: Row
    stretches: list[Stretch] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)


@dataclass(slots=True)
class LaneDraft:
    """A lane and its drafts."""

    lane: Lane
    drafts: list[Draft] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)


_NODE_STATUS = {"done": "done", "running": "running", "retrying": "retrying", "waiting": "waiting"}
_MARK_TONES = {
    "incident_raised": "bad",
    "run_failed": "bad",
    "run_paused": "warn",
    "cancel_requested": "warn",
}


def error_line(error: Any) -> str:
    """An error that was kept as JSON, in one line."""
    if isinstance(error, Mapping):
        name = error.get("type") or error.get("code") or ""
        message = error.get("message") or ""
        return f"{name}: {message}" if name and message else str(name or message)
    return str(error) if error else ""


def run_lane(run: RowData, history: Sequence[RowData]) -> tuple[LaneDraft, Progress]:
    """The lane of one run: a row per node in the order in which they began, compensation after."""
    progress = progress_of(history)
    known = status(str(run["status"]))
    ended = run.get("ended_at")
    took = duration(float(ended) - float(run["created_at"])) if ended else "not ended"
    lane = Lane(
        id=f"run-{run['id']}",
        kind="run",
        title=f"{run['flow']} {run['key']}",
        sub=f"v{run['version']}",
        status=known,
        summary=f"{len(progress.nodes)} nodes, {took}",
        href=f"/ui/runs/{run['id']}",
    )
    drafts = [_node_draft(run, node) for node in progress.nodes.values()]
    moments = [
        Moment("mark", mark.at, _MARK_TONES.get(mark.type, "quiet"), mark.text) for mark in progress.marks
    ]
    return LaneDraft(lane, drafts, moments), progress


def _node_draft(run: RowData, node: NodeProgress) -> Draft:
    undo = node.kind == "compensation"
    kind = "compensation" if undo else node.kind
    row = Row(
        id=node_row_id(str(run["id"]), node.node),
        label=node.name,
        sub="undo" if undo else "" if node.kind == "step" else node.kind,
        status=status(_NODE_STATUS.get(node.status, node.status)),
        why=node.why(),
        started=node.started,
        ended=node.ended,
        attempts=node.attempts if len(node.attempts) > 1 or node.error else [],
        note=_node_note(node),
    )
    row.details.append(("node", node.name, "id"))
    if kind != "step":
        row.details.append(("kind", kind, "text"))
    if node.result is not None:
        row.details.append(("result", node.result, "json"))
    if node.cause:
        row.details.append(("caused by", str(node.cause), "id"))
    for event_id, event_type, _ in node.emitted + node.received:
        row.details.append(("event", f"{event_type} {event_id}".strip(), "id"))
    draft = Draft(row, _node_stretches(node))
    for _, event_type, at in node.emitted:
        draft.moments.append(Moment("event", at, "info", f"emitted {event_type}"))
    for _, event_type, at in node.received:
        draft.moments.append(Moment("event", at, "info", f"received {event_type}"))
    if not draft.stretches and not draft.moments:
        draft.moments.append(Moment("mark", node.started, row.status.tone, node.note or row.status.word))
    return draft


def _node_stretches(node: NodeProgress) -> list[Stretch]:
    tone = "undo" if node.kind == "compensation" else "ok"
    stretches: list[Stretch] = []
    before: float | None = None
    for attempt in node.attempts:
        if before is not None and attempt.started > before:
            stretches.append(
                Stretch("backoff", before, attempt.started, "warn", "waited before the next attempt")
            )
        shown = {"failed": "bad", "running": "info", "skipped": "quiet"}.get(attempt.outcome, tone)
        what = attempt.error or ("is at work" if attempt.ended is None else attempt.outcome)
        length = "" if attempt.ended is None else f", {duration(attempt.ended - attempt.started)}"
        stretches.append(
            Stretch(
                "work", attempt.started, attempt.ended, shown, f"attempt {attempt.number}{length}: {what}"
            )
        )
        before = attempt.ended
    if node.status == "retrying" and before is not None:
        stretches.append(Stretch("backoff", before, None, "warn", "waits for the next attempt"))
    if not node.attempts and node.kind in ("wait", "sleep", "call", "parallel"):
        shown = "bad" if node.status == "failed" else "info"
        stretches.append(Stretch("wait", node.started, node.ended, shown, node.note or node.kind))
    return stretches


def _node_note(node: NodeProgress) -> str:
    if node.kind in ("emit", "choice"):
        return node.emitted[0][1] if node.emitted else ""
    parts = [duration(node.ended - node.started)] if node.ended is not None else []
    if len(node.attempts) > 1:
        parts.append(f"{len(node.attempts)} attempts")
    if node.status in ("failed", "stuck") and node.error:
        parts.append(node.error.partition(":")[0])
    return " · ".join(parts)


def node_row_id(run_id: str, node: str) -> str:
    """The id of the row of one node of one run."""
    return f"node-{run_id}-{node.replace(UNDO, '-undo')}"


def command_ids(run_id: str, progress: Progress) -> dict[str, NodeProgress]:
    """The ids of the commands that a run's steps may have sent (see ``orchestrator.wire``), to the steps."""
    return {
        derive_id("command", run_id, node.name) + (UNDO if node.kind == "compensation" else ""): node
        for node in progress.nodes.values()
    }


def correlated_id(event: RowData, run_id: str) -> str:
    """The id under which a run takes an event that it waits for (see ``orchestrator.wire``)."""
    return derive_id("correlated", str(event["source"]), str(event["id"]), run_id)


def reaction_draft(
    reaction: RowData,
    published: float | None,
    dead_letter: RowData | None,
    answered: float | None = None,
) -> Draft:
    """The row of one reaction: time in the queue, retries, and the newest attempt's work.

    ``published`` is when its event was, ``answered`` when the answer to a command was taken. What
    claims to begin before the one or to end after the other is drawn within, because two clocks
    disagree: an effect does not come before its cause.
    """
    known = reaction_status(reaction, dead_letter)
    received, started = float(reaction["received_at"]), float(reaction["started_at"])
    ended = reaction.get("finished_at")
    finished = float(ended) if ended is not None else None
    skew = 0.0
    if answered is not None and finished is not None and finished > answered:
        skew = answered - finished
    if published is not None and received + skew < published:
        skew = published - received
    received, started = received + skew, started + skew
    finished = finished + skew if finished is not None else None
    error = error_line(reaction.get("error"))
    attempts = int(reaction["attempts"])
    row = Row(
        id=reaction_row_id(str(reaction["reactor"]), str(reaction["source"]), str(reaction["event_id"])),
        label=str(reaction["type"]),
        sub="",
        status=known,
        why=_reaction_why(known, attempts, error or _refusal(reaction), dead_letter),
        started=published if published is not None else received,
        ended=finished,
    )
    stretches: list[Stretch] = []
    if published is not None and received > published:
        waited = duration(received - published)
        stretches.append(Stretch("queue", published, received, "quiet", f"in the queue for {waited}"))
    if started > received:
        text = f"{attempts - 1} earlier attempts, and the waits between them" if attempts > 1 else "held back"
        stretches.append(Stretch("backoff", received, started, "warn", text))
    stretches.extend(_newest_attempt(known, started, finished))
    row.note = _reaction_note(published, received, started, finished, attempts)
    error = error or (_refusal(reaction) if known.name == "refused" else "")
    if known.name in ("dead", "retrying", "refused") and error:
        row.note = f"{_times(attempts)} · {error if len(error) <= 64 else error[:63] + '…'}"
    row.details = [
        ("event", str(reaction["event_id"]), "id"),
        ("source", str(reaction["source"]), "id"),
        ("attempts", str(attempts), "text"),
    ]
    if reaction.get("causation"):
        row.details.append(("caused by", str(reaction["causation"]), "id"))
    if reaction.get("claimed_by"):
        row.details.append(("handled by", str(reaction["claimed_by"]), "id"))
    if error:
        row.details.append(("last error", error, "text"))
    if abs(skew) >= 0.001:
        text = f"{duration(abs(skew))} {'later' if skew > 0 else 'earlier'} than its clock said"
        row.details.append(("drawn", f"{text}: an effect does not come before its cause", "text"))
    if dead_letter is not None and dead_letter["status"] == "dead":
        row.actions = dead_letter_actions(str(dead_letter["id"]))
        row.details.append(("dead letter", str(dead_letter["id"]), "id"))
    return Draft(row, stretches)


def reaction_status(reaction: RowData, dead_letter: RowData | None) -> Status:
    """A reaction's status; a dead one whose letter was discarded or sent again says so."""
    name, reply = str(reaction["status"]), reaction.get("reply")
    if name == "done" and isinstance(reply, Mapping) and reply.get("outcome") == "refused":
        return status("refused")
    if name == "dead" and dead_letter is not None and dead_letter["status"] != "dead":
        name = str(dead_letter["status"])
    return status(name)


def dead_letter_actions(id: str) -> list[Action]:
    """What can be done with a dead letter."""
    return [
        Action("Redrive", f"/ui/dead-letters/{id}/redrive"),
        Action("Discard", f"/ui/dead-letters/{id}/discard", danger=True),
    ]


def reaction_row_id(reactor: str, source: str, event_id: str) -> str:
    """The id of the row of one reaction."""
    return f"reaction-{derive_id(reactor, source, event_id)}"


def _newest_attempt(known: Status, started: float, finished: float | None) -> list[Stretch]:
    if known.name == "retrying":
        return [Stretch("backoff", started, None, "warn", "failed; waits for the next attempt")]
    tone = {"done": "ok", "claimed": "info"}.get(known.name, known.tone)
    if finished is None and known.name != "claimed":
        finished = started
    text = "is at work" if finished is None else f"worked for {duration(finished - started)}"
    return [Stretch("work", started, finished, tone, text)]


def _reaction_note(
    published: float | None, received: float, started: float, finished: float | None, attempts: int
) -> str:
    parts = []
    if published is not None:
        parts.append(f"{duration(received - published)} queued")
    if finished is not None:
        parts.append(f"{duration(finished - started)} work")
    if attempts > 1:
        parts.append(f"{attempts} attempts")
    return " · ".join(parts)


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _refusal(reaction: RowData) -> str:
    reply = reaction.get("reply")
    return error_line(reply.get("error")) if isinstance(reply, Mapping) else ""


def _reaction_why(known: Status, attempts: int, error: str, dead_letter: RowData | None) -> str:
    times = _times(attempts)
    match known.name:
        case "done":
            return "Done at the first attempt." if attempts == 1 else f"Done after {times}."
        case "refused":
            return f"The answer is no: {error or 'no reason was recorded'}"
        case "claimed":
            before = f"; the one before failed: {error}" if error and attempts > 1 else ""
            return f"Attempt {attempts} is at work{before}."
        case "retrying":
            return f"Attempt {attempts} failed and will be tried again: {error}"
        case "dead":
            return f"Given up after {times}: {error or 'no reason was recorded'}"
        case "redriven":
            return f"Was given up after {times}, then sent again by {(dead_letter or {}).get('settled_by')}."
        case "discarded":
            letter = dead_letter or {}
            return f"Discarded by {letter.get('settled_by')}: {letter.get('reason') or 'no reason given'}"
        case _:
            return error
