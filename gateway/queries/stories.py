"""A story: everything with one correlation id, flow and reactions alike, on one timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from gateway.queries.story_rows import RowData, StoryRows, read_story
from gateway.queries.timeline import Entry, arrange
from orchestrator.wire import command_id, correlated_id

__all__ = ["Story", "get_story", "tell"]


@dataclass(frozen=True, slots=True)
class Story:
    """Runs and entries of one correlation id, in order. ``missing`` counts reactions that did not come.

    ``truncated`` is whether there is more than is shown.
    """

    correlation: str
    runs: list[RowData]
    entries: list[Entry]
    missing: int
    truncated: bool


def get_story(
    conn: Connection, workspace: str, correlation: str, subscriptions: Mapping[str, Sequence[str]]
) -> Story | None:
    """The story; None when this workspace knows nothing of that id."""
    rows = read_story(conn, workspace, correlation)
    return tell(correlation, rows, subscriptions) if rows is not None else None


def tell(correlation: str, rows: StoryRows, subscriptions: Mapping[str, Sequence[str]]) -> Story:
    """Rows into one timeline. Pure.

    ``subscriptions`` maps an event type to the reactors that should react to it: an event without
    a reaction of each of them shows the missing ones.
    """
    missing = _missing(rows.events, rows.reactions, subscriptions)
    of = {run["id"]: run for run in rows.runs}
    entries = arrange(
        [
            *(_fact(fact, of.get(run_id, {})) for run_id, facts in rows.histories.items() for fact in facts),
            *(_event(event, list(of)) for event in rows.events),
            *map(_reaction, rows.reactions),
            *map(_dead_letter, rows.dead_letters),
            *map(_deed, rows.audit),
            *missing,
        ]
    )
    return Story(correlation, rows.runs, entries, len(missing), rows.truncated)


def _fact(row: RowData, run: RowData) -> Entry:
    data = row["data"] if isinstance(row["data"], dict) else {}
    return Entry(
        id=f"fact:{row['run_id']}:{row['seq']}",
        kind="fact",
        lane=f"run:{row['run_id']}",
        type=row["type"],
        at=row["at"],
        seq=row["seq"],
        # What a run received has its sender's id: it is that message's effect.
        caused_by=data.get("event_id") if row["type"] == "event_received" else data.get("cause"),
        gives=_sent(row["type"], row["run_id"], row["node"], data),
        detail={
            "run": row["run_id"],
            "flow": run.get("flow"),
            "key": run.get("key"),
            "node": row["node"],
            "data": data,
        },
    )


def _sent(type: str, run_id: str, node: str | None, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids of the messages that went out with a fact; a command's is derived from run and node."""
    match type:
        case "event_emitted":
            return (data["event_id"],) if data.get("event_id") else ()
        case "step_scheduled" if node:
            return (command_id(run_id, node),)
        case "compensation_scheduled" if node:
            return (command_id(run_id, node, back=True),)
        case _:
            return ()


def _event(row: RowData, run_ids: Sequence[str]) -> Entry:
    return Entry(
        id=f"event:{row['source']}:{row['id']}",
        kind="event",
        lane="events",
        type=row["type"],
        at=row["at"],
        caused_by=row["id"],  # the fact that emitted it carries its id
        or_by=row["causation"],
        # A run takes a correlated event under an id of its own.
        gives=(row["id"], *(correlated_id(row["source"], row["id"], run_id) for run_id in run_ids)),
        detail={
            "event_id": row["id"],
            "source": row["source"],
            "subject": row["subject"],
            "routed": bool(row["routed"]),
        },
    )


def _reaction(row: RowData) -> Entry:
    received, started, finished = row["received_at"], row["started_at"], row["finished_at"]
    return Entry(
        id=f"reaction:{row['reactor']}:{row['source']}:{row['event_id']}",
        kind="reaction",
        lane=f"reactor:{row['reactor']}",
        type=row["type"],
        at=received,
        caused_by=row["event_id"],
        detail={
            "reactor": row["reactor"],
            "event_id": row["event_id"],
            "source": row["source"],
            "status": row["status"],
            "attempts": row["attempts"],
            "started_at": started,
            "finished_at": finished,
            "waited": max(0.0, started - received),
            "worked": max(0.0, finished - started) if finished is not None else None,
            "error": row["error"],
        },
    )


def _dead_letter(row: RowData) -> Entry:
    return Entry(
        id=f"dead-letter:{row['id']}",
        kind="dead_letter",
        lane=f"reactor:{row['reactor']}",
        type=row["type"],
        at=row["dead_at"],
        caused_by=row["event_id"],
        after=f"reaction:{row['reactor']}:{row['source']}:{row['event_id']}",
        detail={
            "dead_letter": row["id"],
            "reactor": row["reactor"],
            "event_id": row["event_id"],
            "status": row["status"],
            "attempts": row["attempts"],
            "error": {"type": row["error_type"], "message": row["error_message"]},
            "settled_at": row["settled_at"],
            "settled_by": row["settled_by"],
            "reason": row["reason"],
        },
    )


def _deed(row: RowData) -> Entry:
    return Entry(
        id=f"audit:{row['seq']}",
        kind="audit",
        lane="audit",
        type=row["action"],
        at=row["at"],
        seq=row["seq"],
        detail={name: row[name] for name in ("actor", "target", "reason", "detail")},
    )


def _missing(
    published: Sequence[RowData], reacted: Sequence[RowData], subscriptions: Mapping[str, Sequence[str]]
) -> list[Entry]:
    seen = {(row["reactor"], row["source"], row["event_id"]) for row in reacted}
    return [
        Entry(
            id=f"missing:{reactor}:{row['source']}:{row['id']}",
            kind="missing",
            lane=f"reactor:{reactor}",
            type=row["type"],
            at=row["at"],
            caused_by=row["id"],
            detail={"reactor": reactor, "event_id": row["id"], "source": row["source"]},
        )
        for row in published
        for reactor in subscriptions.get(row["type"], ())
        if (reactor, row["source"], row["id"]) not in seen
    ]
