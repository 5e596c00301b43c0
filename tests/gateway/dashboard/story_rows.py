"""Rows of the store for stories, and what to look up in a story that was laid out."""

from __future__ import annotations

from typing import Any

from gateway.dashboard.story import build
from gateway.dashboard.story_model import Lane, Row, Story

RUN = {
    "id": "run-1",
    "flow": "ride",
    "version": 1,
    "key": "r-1",
    "status": "running",
    "waiting": None,
    "error": None,
    "created_at": 100.0,
    "ended_at": None,
}


def fact(seq: int, what: str, node: str | None, at: float, **data: Any) -> dict[str, Any]:
    return {"seq": seq, "type": what, "node": node, "at": at, "data": data}


def event(id: str, type: str, at: float, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "source": "/nyc/flows/ride",
        "type": type,
        "at": at,
        "causation": None,
        "subject": None,
        "routed": 1,
        **more,
    }


def reaction(reactor: str, event_id: str, received: float, **more: Any) -> dict[str, Any]:
    return {
        "reactor": reactor,
        "source": "/nyc/flows/ride",
        "event_id": event_id,
        "type": "ride.booked.v1",
        "causation": None,
        "status": "done",
        "attempts": 1,
        "claimed_by": "p-1",
        "received_at": received,
        "started_at": received,
        "finished_at": received + 0.5,
        "error": None,
        "reply": None,
        **more,
    }


def story(**rows: Any) -> Story:
    given: dict[str, Any] = {
        "runs": [RUN],
        "histories": {
            "run-1": [fact(1, "event_emitted", "booked", 101.0, event_id="e-1", event_type="ride.booked.v1")]
        },
        "events": [event("e-1", "ride.booked.v1", 101.0)],
        "reactions": [],
        "expected": {},
        "now": 103.0,
    }
    return build("c-1", **{**given, **rows})


def lane(told: Story, id: str) -> Lane:
    return next(each for each in told.lanes if each.id == id)


def only_row(told: Story, id: str) -> Row:
    (row,) = lane(told, id).rows
    return row
