"""From a run and its history to its lane: a row per node, drafted."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.dashboard.progress import UNDO, NodeProgress, Progress, progress_of
from gateway.dashboard.story_drafts import Draft, Edge, LaneDraft, Moment, RowData, Stretch
from gateway.dashboard.story_model import Lane, Row
from gateway.dashboard.words import duration, status
from orchestrator.wire import command_id

__all__ = ["answered_at", "command_ids", "family", "node_row_id", "run_lane"]

_NODE_STATUS = {"done": "done", "running": "running", "retrying": "retrying", "waiting": "waiting"}
_MARK_TONES = {
    "incident_raised": "bad",
    "run_failed": "bad",
    "run_paused": "warn",
    "cancel_requested": "warn",
    "cancel_refused": "warn",
    "event_refused": "bad",
    "rerun_refused": "warn",
    "run_repaired": "warn",
    "run_migrated": "info",
    "migration_refused": "warn",
}


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
        sub=f"v{run['version']}{', again' if run.get('linked_from') else ''}",
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
        label=node.name.removeprefix("emit ") if node.kind == "emit" else node.name,
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
        named = node.emitted[0][1] if node.emitted else ""
        return "" if node.name.endswith(named) else named
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
        command_id(run_id, node.name, back=node.kind == "compensation"): node
        for node in progress.nodes.values()
    }


def answered_at(node: NodeProgress) -> float | None:
    """When the answer to a step's command was taken; None where the step ended without one."""
    if node.status in ("failed", "stuck") and not (node.error or "").startswith("timeout:"):
        return node.ended
    return node.ended if node.status == "done" else None


def family(run: RowData, progress: Progress) -> list[Edge]:
    """From a call to the run that it started, and from a run to the one that was made from it."""
    edges = [
        Edge(node.started, node_row_id(str(run["id"]), node.node), f"run-{node.child}")
        for node in progress.nodes.values()
        if node.child
    ]
    if run.get("linked_from"):
        edges.append(Edge(float(run["created_at"]), f"run-{run['linked_from']}", f"run-{run['id']}"))
    return edges
