"""What stands out in a story, in sentences; its table twin; and its counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.dashboard.progress import UNDO
from gateway.dashboard.story_model import Action, Entry, Finding, Lane, Row
from gateway.dashboard.words import status

__all__ = ["counts", "entries", "fact_brief", "fact_words", "findings", "goes_back", "run_actions"]

RowData = Mapping[str, Any]

ENDED = ("completed", "compensated", "cancelled", "failed")


def goes_back(status: str, error: Any) -> bool:
    """Whether an open run undoes what it did, or is stuck or paused in that: a cancel changes nothing."""
    return status not in ENDED and error is not None


def run_actions(run: RowData) -> tuple[Action, ...]:
    """What can be done with a run in its status."""
    base, name = f"/ui/runs/{run['id']}", str(run["status"])
    retry = Action("Retry", f"{base}/retry")
    if name in ENDED:
        return (retry,)
    back = goes_back(name, run.get("error"))
    cancel = () if back else (Action("Cancel", f"{base}/cancel", danger=True),)
    if name == "stuck":
        return (retry, *cancel)
    if name == "paused":
        return (Action("Resume", f"{base}/resume"), *cancel)
    return (Action("Signal", f"{base}/signal"), Action("Pause", f"{base}/pause"), *cancel)


def findings(
    runs: Sequence[RowData], lanes: Sequence[Lane], error_line: Callable[[Any], str]
) -> list[Finding]:
    """What somebody on call should know, the worst first."""
    found: list[Finding] = []
    again = {str(run["linked_from"]) for run in runs if run.get("linked_from")}
    for run in runs:
        name, known = str(run["status"]), status(str(run["status"]))
        waiting, error = str(run.get("waiting") or ""), error_line(run.get("error"))
        reason = (
            waiting or error if name in ("stuck", "paused") else error or waiting
        ) or "no reason was recorded"
        anchor, who = f"run-{run['id']}", f"{run['flow']} {run['key']}"
        if str(run["id"]) in again:
            text = f"{who} is {known.word}, and was run again" + (f": {error}" if error else "")
            found.append(Finding("undo", "retry", text, anchor))
        elif name in ("stuck", "failed"):
            found.append(
                Finding("bad", known.icon, f"{who} is {known.word}: {reason}", anchor, run_actions(run))
            )
        elif name == "paused":
            found.append(Finding("warn", known.icon, f"{who} is paused: {reason}", anchor, run_actions(run)))
        elif name == "compensating":
            found.append(Finding("undo", known.icon, f"{who} is going back: {reason}", anchor))
        elif name == "compensated":
            found.append(Finding("undo", known.icon, f"{who} was taken back: {reason}", anchor))
    for lane in lanes:
        for row in lane.rows:
            finding = _row_finding(lane, row)
            if finding is not None:
                found.append(finding)
    order = {"bad": 0, "warn": 1, "undo": 2}
    return sorted(found, key=lambda finding: order.get(finding.tone, 3))


def _row_finding(lane: Lane, row: Row) -> Finding | None:
    known = row.status
    if lane.kind in ("reactor", "service") and known.name in ("dead", "held", "retrying", "missing"):
        text = row.why if known.name == "missing" else f"{lane.title} on {row.label}: {row.why}"
        return Finding(known.tone, known.icon, text, row.id, tuple(row.actions))
    if lane.kind == "reactor" and known.name == "done" and any(dot.kind == "audit" for dot in row.dots):
        return Finding("undo", "retry", f"{lane.title} on {row.label}: {row.why}", row.id)
    if known.name == "unheard":
        return Finding("warn", known.icon, f"Nobody listened to {row.label}.", row.id)
    if lane.kind == "run" and known.name == "retrying":
        return Finding("warn", known.icon, f"{row.label}: {row.why}", row.id)
    return None


def entries(
    runs: Sequence[RowData],
    histories: Mapping[str, Sequence[RowData]],
    lanes: Sequence[Lane],
    start: float,
) -> list[Entry]:
    """Everything that happened, in order, as lines of a table."""
    lines: list[Entry] = []
    for run in runs:
        where = f"{run['flow']} {run['key']}"
        for fact in histories.get(str(run["id"]), ()):
            node = str(fact.get("node") or "").removesuffix(UNDO)
            at = float(fact["at"])
            place = f"{where} · {node}" if node else where
            lines.append(Entry(at, at - start, place, fact_words(str(fact["type"])), None, fact_brief(fact)))
    for lane in lanes:
        if lane.kind == "run":
            continue
        for row in lane.rows:
            at = row.started if row.started is not None else start
            lines.append(Entry(at, at - start, lane.title, row.label, row.status, row.why))
    return sorted(lines, key=lambda entry: entry.at)


def fact_words(type_: str) -> str:
    """A fact's type in words."""
    return type_.replace("_", " ")


def fact_brief(fact: RowData) -> str:
    """What a fact says beside its type, in a few words."""
    data: Mapping[str, Any] = fact.get("data") or {}
    parts = []
    if data.get("attempt") and int(data["attempt"]) > 1:
        parts.append(f"attempt {data['attempt']}")
    if data.get("event_type"):
        parts.append(str(data["event_type"]))
    error = data.get("error")
    if isinstance(error, Mapping):
        parts.append(f"{error.get('code') or error.get('type') or 'error'}: {error.get('message', '')}")
    elif error:
        parts.append(str(error))
    if because := data.get("because"):
        parts.append("; ".join(map(str, because)) if isinstance(because, list) else str(because))
    if data.get("reason"):
        parts.append(str(data["reason"]))
    return ", ".join(parts)


def counts(runs: Sequence[RowData], lanes: Sequence[Lane]) -> list[tuple[str, int, str]]:
    """How many runs there are, how many reactions are done, and what is open or dead: word, count, tone.

    Services have dead letters, too, and commands that wait.
    """
    done = sum(row.status.name == "done" for lane in lanes if lane.kind == "reactor" for row in lane.rows)
    rows = [row for lane in lanes if lane.kind in ("reactor", "service") for row in lane.rows]
    result = [("run" if len(runs) == 1 else "runs", len(runs), "quiet"), ("reactions done", done, "ok")]
    for name, word, tone in (
        ("claimed", "at work", "info"),
        ("queued", "queued", "quiet"),
        ("retrying", "retrying", "warn"),
        ("missing", "have not come", "warn"),
        ("held", "in quarantine", "bad"),
        ("dead", "dead letters", "bad"),
    ):
        count = sum(row.status.name == name for row in rows)
        if count:
            result.append((word, count, tone))
    return result
