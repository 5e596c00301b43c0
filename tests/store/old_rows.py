"""A store with old stories in it: each a run with its history, and what followed from it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from orchestrator.leases import make_partitions
from store import tables
from store.bulk import insert_rows
from store.database import Database

NOW = 1_700_000_000.0
DAY = 86_400.0
PARTITIONS_MADE = 2


def run(id: str, *, ended: float | None = NOW - 10 * DAY, **more: Any) -> dict[str, Any]:
    row = {
        "id": id,
        "partition": sum(id.encode()) % PARTITIONS_MADE,
        "workspace": "acme",
        "flow": "ride",
        "version": 1,
        "key": f"key-{id}",
        "correlation": f"story-{id}",
        "status": "running" if ended is None else "completed",
        "input": '{"n":1}',
        "input_digest": "d",
        "start_id": f"start-{id}",
        "state": "{}",
        "seq": 2,
        "waiting": None,
        "result": '{"fare":2}',
        "error": None,
        "linked_from": None,
        "parent": None,
        "created_at": NOW - 20 * DAY,
        "updated_at": NOW - 10 * DAY,
        "ended_at": ended,
    }
    return {**row, **more}


def event(id: str, story: str, *, at: float = NOW - 10 * DAY) -> dict[str, Any]:
    row = {"source": "/acme/x", "id": id, "workspace": "acme", "type": "ride.booked.v1", "causation": None}
    return {**row, "correlation": story, "subject": None, "at": at}


def reaction(
    id: str, story: str, status: str = "done", *, at: float | None = NOW - 10 * DAY
) -> dict[str, Any]:
    row = {"reactor": "notify", "source": "/acme/x", "event_id": id, "workspace": "acme", "type": "t.v1"}
    row |= {"correlation": story, "status": status, "attempts": 1, "received_at": NOW - 11 * DAY}
    return {**row, "started_at": NOW - 11 * DAY, "finished_at": at, "reply": '{"ok":true}'}


def letter(id: str, story: str, status: str) -> dict[str, Any]:
    row = {"id": id, "workspace": "acme", "reactor": "notify", "queue": "reactor.notify", "source": "/acme/x"}
    row |= {"event_id": id, "type": "t.v1", "correlation": story, "group_key": "g", "error_type": "E"}
    row |= {"error_message": "no", "attempts": 1, "content_type": "application/json", "headers": "{}"}
    row |= {"body": b"\x00\xff", "received_at": NOW - 12 * DAY, "dead_at": NOW - 12 * DAY, "status": status}
    return {**row, "settled_at": None if status == "dead" else NOW - 11 * DAY}


def request(key: str, *, at: float) -> dict[str, Any]:
    return {"workspace": "acme", "key": key, "request_digest": "d", "created_at": at, "status": 202}


def fact(run_id: str, seq: int) -> dict[str, Any]:
    row = {"run_id": run_id, "seq": seq, "type": "step_completed", "node": "a", "at": NOW}
    return {**row, "data": f'{{"n":{seq}}}', "run_created_at": NOW - 20 * DAY}


def put_stories(conn: Connection, ids: list[str]) -> None:
    """Stories that ended long ago."""
    insert_rows(conn, tables.runs, [run(id) for id in ids])
    facts = [fact(id, seq) for id in ids for seq in (1, 2)]
    insert_rows(conn, tables.history, facts)
    insert_rows(conn, tables.marks, [{"run_id": id, "message_id": "m"} for id in ids])
    insert_rows(conn, tables.events, [event(f"event-{id}", f"story-{id}") for id in ids])
    insert_rows(conn, tables.reactions, [reaction(f"event-{id}", f"story-{id}") for id in ids])


async def put(database: Database, table: str, *rows: dict[str, Any]) -> None:
    """Some rows more."""
    await database.write(lambda conn: insert_rows(conn, tables.metadata.tables[table], rows))


async def make_partitions_of(database: Database) -> None:
    await database.write(lambda conn: make_partitions(conn, PARTITIONS_MADE))


async def ids(database: Database, table: str, column: str = "id") -> set[str]:
    """What is left."""
    query = select(tables.metadata.tables[table].c[column])
    return await database.read(lambda conn: set(conn.execute(query).scalars()))
