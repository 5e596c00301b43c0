"""Causes in a story: from the wire's own ids, so that both halves join."""

from __future__ import annotations

from typing import Any

from gateway.queries.stories import tell
from gateway.queries.story_rows import StoryRows
from orchestrator import wire


def fact(seq: int, type: str, node: str | None, data: dict[str, Any]) -> dict[str, Any]:
    """A row of the history of run-1."""
    return {"run_id": "run-1", "seq": seq, "type": type, "node": node, "at": float(seq), "data": data}


def event(id: str) -> dict[str, Any]:
    """A row of an event from outside."""
    return {
        "source": "/outside",
        "id": id,
        "type": "trip.ended.v1",
        "at": 2.0,
        "subject": None,
        "routed": 1,
        "correlation": "run-1",
        "causation": None,
    }


def reaction(event_id: str) -> dict[str, Any]:
    """A row of what a service did with a command."""
    return {
        "reactor": "service.payments",
        "source": "/default/flows/ride",
        "event_id": event_id,
        "type": "payments.authorize.v1",
        "correlation": "run-1",
        "causation": "run-1",
        "status": "done",
        "attempts": 1,
        "received_at": 1.5,
        "started_at": 1.5,
        "finished_at": 1.6,
        "error": None,
    }


def test_commands_and_correlated_events_join_the_two_halves() -> None:
    """The id of a command is derived from run and step, that of a correlated event from event and run."""
    taken = wire.correlated_id("/outside", "e-1", "run-1")
    rows = StoryRows(
        runs=[{"id": "run-1", "flow": "ride", "key": "r-1"}],
        histories={
            "run-1": [
                fact(1, "step_scheduled", "authorize", {"attempt": 1}),
                fact(3, "event_received", "trip_ended", {"event_id": taken}),
            ]
        },
        events=[event("e-1")],
        reactions=[reaction(wire.command_id("run-1", "authorize"))],
        dead_letters=[],
        audit=[],
        truncated=False,
    )
    story = tell("run-1", rows, {})
    by_id = {entry.id: entry for entry in story.entries}
    kinds = {entry.kind: entry for entry in story.entries if entry.kind != "fact"}
    facts = {entry.seq: entry for entry in story.entries if entry.kind == "fact"}
    assert by_id[str(kinds["reaction"].cause)] is facts[1]
    assert by_id[str(facts[3].cause)] is kinds["event"]
