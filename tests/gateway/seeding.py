"""Rows as the other rooms would have written them."""

from __future__ import annotations

from typing import Any

from store.bulk import insert_rows
from store.database import Database

__all__ = ["NOW", "OURS", "THEIRS", "fact", "held", "letter", "put", "reaction", "run"]

NOW = 1_700_000_040.0  # a whole minute
OURS, THEIRS = "acme", "globex"


def run(id: str, status: str = "completed", *, at: float = NOW, **more: Any) -> dict[str, Any]:
    ended = None if status in ("running", "stuck", "paused", "compensating") else at + 1
    row = {
        "id": id,
        "partition": 0,
        "workspace": OURS,
        "flow": "ride",
        "version": 1,
        "key": f"key-{id}",
        "correlation": f"story-{id}",
        "status": status,
        "input": '{"n":1}',
        "input_digest": "d",
        "start_id": f"start-{id}",
        "state": "{}",
        "seq": 1,
        "waiting": None,
        "result": '{"fare":2}',
        "error": None,
        "linked_from": None,
        "parent": None,
        "created_at": at,
        "updated_at": at,
        "ended_at": ended,
    }
    return {**row, **more}


def fact(run_id: str, seq: int, *, created_at: float = NOW) -> dict[str, Any]:
    row = {"run_id": run_id, "seq": seq, "type": "step_completed", "node": "n", "at": NOW, "data": "{}"}
    return {**row, "run_created_at": created_at}


def letter(id: str, *, at: float = NOW, **more: Any) -> dict[str, Any]:
    row = {
        "id": id,
        "workspace": OURS,
        "reactor": "notify",
        "queue": "reactor.notify",
        "source": "/acme/x",
        "event_id": f"event-{id}",
        "type": "ride.booked.v1",
        "correlation": "story-a",
        "group_key": "notify: no address",
        "error_type": "Terminal",
        "error_message": f"no address {id}",
        "traceback": None,
        "attempts": 1,
        "content_type": "application/json",
        "headers": "{}",
        "body": b"{}",
        "received_at": at - 1,
        "dead_at": at,
        "status": "dead",
        "settled_at": None,
        "settled_by": None,
        "reason": None,
    }
    return {**row, **more}


def reaction(event: str, status: str = "done", *, worked: float = 0.5, **more: Any) -> dict[str, Any]:
    open_ = status in ("claimed", "retrying")
    row = {
        "reactor": "notify",
        "source": "/acme/x",
        "event_id": event,
        "workspace": OURS,
        "type": "ride.booked.v1",
        "correlation": "story-a",
        "causation": None,
        "status": status,
        "attempts": 1,
        "claimed_by": "p-1",
        "received_at": NOW,
        "started_at": NOW + 0.25,
        "finished_at": None if open_ else NOW + 0.25 + worked,
        "error": None,
        "reply": None,
    }
    return {**row, **more}


def held(id: str, workspace: str) -> dict[str, Any]:
    return {
        "id": id,
        "workspace": workspace,
        "queue": "reactor.notify",
        "reason": "malformed",
        "detail": "no JSON",
        "message_id": None,
        "content_type": "text/plain",
        "headers": "{}",
        "body": b"\xff",
        "received_at": NOW,
        "status": "held",
    }


async def put(database: Database, table: Any, *rows: dict[str, Any]) -> None:
    for row in rows:
        await database.write(lambda conn, row=row: insert_rows(conn, table, [row]) and None)
