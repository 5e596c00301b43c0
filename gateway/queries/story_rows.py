"""What the store holds of one correlation id, as rows with their JSON decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Column, ColumnElement, Connection, Row, Table, and_, or_, select

from store.lookups import of_its_run, runs_of_story
from store.tables import audit, dead_letters, events, history, reactions, runs

__all__ = ["RowData", "StoryRows", "read_story"]

_MOST = 5_000  # rows of each kind
_JSON = ("data", "detail", "error", "headers", "input", "reply", "result")
_HIDDEN = ("state", "body", "traceback", "run_created_at")

RowData = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoryRows:
    """The rows of each table; ``histories`` maps a run's id to its facts, oldest first.

    ``truncated`` is whether a table has more than is here.
    """

    runs: list[RowData]
    histories: dict[str, list[RowData]]
    events: list[RowData]
    reactions: list[RowData]
    dead_letters: list[RowData]
    audit: list[RowData]
    truncated: bool


def read_story(conn: Connection, workspace: str, correlation: str) -> StoryRows | None:
    """All rows of a story, oldest first; None when this workspace knows nothing of that id."""
    found = {
        table.name: _rows(conn, table, workspace, correlation, order)
        for table, order in (
            (runs, "created_at"),
            (events, "at"),
            (reactions, "received_at"),
            (dead_letters, "dead_at"),
        )
    }
    if not any(found.values()):
        return None
    facts = _facts(conn, workspace, correlation)
    histories: dict[str, list[RowData]] = {run["id"]: [] for run in found["runs"]}
    for fact in facts:
        histories.setdefault(fact["run_id"], []).append(fact)
    targets = [row["id"] for row in (*found["runs"], *found["dead_letters"])]
    targets += [f"run/{run['id']}" for run in found["runs"]]
    targets += {letter["group_key"] for letter in found["dead_letters"]}
    return StoryRows(
        runs=found["runs"],
        histories=histories,
        events=found["events"],
        reactions=found["reactions"],
        dead_letters=found["dead_letters"],
        audit=_audit(conn, workspace, targets, {letter["id"] for letter in found["dead_letters"]}),
        truncated=len(facts) >= _MOST or any(len(rows) >= _MOST for rows in found.values()),
    )


def _rows(conn: Connection, table: Table, workspace: str, correlation: str, order: str) -> list[RowData]:
    query = (
        select(*_shown(table))
        .where(_of_story(table, workspace, correlation))
        .order_by(table.c[order])
        .limit(_MOST)
    )
    return [_decoded(row) for row in conn.execute(query)]


def _of_story(table: Table, workspace: str, correlation: str) -> ColumnElement[bool]:
    if table is runs:
        return or_(*runs_of_story(workspace, correlation))
    return and_(table.c.workspace == workspace, table.c.correlation == correlation)


def _facts(conn: Connection, workspace: str, correlation: str) -> list[RowData]:
    query = (
        select(*_shown(history))
        .join(runs, of_its_run)
        .where(_of_story(runs, workspace, correlation))
        .order_by(history.c.run_created_at, history.c.run_id, history.c.seq)
        .limit(_MOST)
    )
    return [_decoded(row) for row in conn.execute(query)]


def _audit(conn: Connection, workspace: str, targets: list[str], letters: set[str]) -> list[RowData]:
    query = (
        select(audit)
        .where(audit.c.workspace == workspace, audit.c.target.in_(targets))
        .order_by(audit.c.seq)
        .limit(_MOST)
    )
    return [row for row in map(_decoded, conn.execute(query)) if _concerns(row, letters)]


def _concerns(row: RowData, letters: set[str]) -> bool:
    """A group's redrive is of this story only where it took one of the story's letters with it."""
    taken = (row["detail"] or {}).get("letters")
    return taken is None or not letters.isdisjoint(taken)


def _shown(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if column.name not in _HIDDEN]


def _decoded(row: Row[Any]) -> RowData:
    values = dict(row._mapping)
    for name in _JSON:
        if isinstance(values.get(name), str):
            values[name] = orjson.loads(values[name])
    return values
