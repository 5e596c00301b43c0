"""Runs: list, count, show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, and_, func, literal, or_, select, tuple_

from gateway.queries.page import Page, page_of, read_cursor
from orchestrator.outcomes import rerun_id
from store.lookups import runs_of_story
from store.tables import purged, runs

__all__ = [
    "ENDED",
    "STATUSES",
    "Run",
    "RunFilter",
    "RunSummary",
    "count_runs",
    "get_purged",
    "get_run",
    "get_runs",
    "list_runs",
    "made_again",
    "related_runs",
]

STATUSES = (
    "running",
    "compensating",
    "completed",
    "compensated",
    "cancelled",
    "failed",
    "stuck",
    "paused",
)
ENDED = frozenset({"completed", "compensated", "cancelled", "failed"})


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs. Times are seconds since the epoch; ``key`` may end in ``*`` for a prefix."""

    flow: str | None = None
    statuses: Sequence[str] = ()
    key: str | None = None
    correlation: str | None = None
    since: float | None = None
    until: float | None = None

    def clauses(self, workspace: str) -> list[ColumnElement[bool]]:
        """The filter as SQL, the workspace first."""
        clauses: list[ColumnElement[bool]] = [runs.c.workspace == workspace]
        if self.flow is not None:
            clauses.append(runs.c.flow == self.flow)
        if self.statuses:
            clauses.append(runs.c.status.in_(list(self.statuses)))
        if self.key is not None and self.key.endswith("*"):
            # Not LIKE, which takes `a` for `A` on SQLite, and not on PostgreSQL.
            prefix = self.key[:-1]
            clauses.append(func.substr(runs.c.key, 1, len(prefix)) == prefix)
        elif self.key is not None:
            clauses.append(runs.c.key == self.key)
        if self.correlation is not None:
            clauses.append(or_(*runs_of_story(workspace, self.correlation)))
        if self.since is not None:
            clauses.append(runs.c.created_at >= self.since)
        if self.until is not None:
            clauses.append(runs.c.created_at < self.until)
        return clauses


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list. ``error`` has code, message and node."""

    id: str
    workspace: str
    flow: str
    version: int
    key: str
    correlation: str
    status: str
    waiting: str | None
    error: dict[str, Any] | None
    linked_from: str | None
    parent: str | None
    created_at: float
    updated_at: float
    ended_at: float | None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens in this run."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Run(RunSummary):
    """A run with what went in and what came out. ``seq`` numbers its newest fact."""

    input: Any
    result: Any
    seq: int


_SUMMARY = tuple(runs.c[name] for name in RunSummary.__dataclass_fields__)
_FULL = tuple(runs.c[name] for name in Run.__dataclass_fields__)


def list_runs(
    conn: Connection,
    workspace: str,
    wanted: RunFilter | None = None,
    *,
    cursor: str | None = None,
    most: int = 50,
) -> Page[RunSummary]:
    """Runs, newest first. Raises BadCursor."""
    query = select(*_SUMMARY).where(*(wanted or RunFilter()).clauses(workspace))
    if cursor is not None:
        query = query.where(tuple_(runs.c.created_at, runs.c.id) < tuple_(*map(literal, read_cursor(cursor))))
    query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(most + 1)
    return page_of(conn.execute(query).all(), most, _summary, lambda row: (row.created_at, row.id))


def count_runs(conn: Connection, workspace: str, wanted: RunFilter | None = None) -> int:
    """How many runs a filter finds."""
    query = select(func.count()).select_from(runs).where(*(wanted or RunFilter()).clauses(workspace))
    return int(conn.execute(query).scalar_one())


def get_run(conn: Connection, workspace: str, run_id: str) -> Run | None:
    """One run; None when this workspace has none of that id."""
    return get_runs(conn, [(workspace, run_id)])[0]


def get_runs(conn: Connection, wanted: Sequence[tuple[str, str]]) -> list[Run | None]:
    """A run for each workspace and id; None where that workspace has none of it."""
    found: dict[tuple[str, str], Run] = {}
    for row in conn.execute(select(*_FULL).where(runs.c.id.in_({run_id for _, run_id in wanted}))):
        values = dict(row._mapping)
        for name in ("error", "input", "result"):
            values[name] = _decoded(values[name])
        found[row.workspace, row.id] = Run(**values)
    return [found.get(one) for one in wanted]


def get_purged(conn: Connection, workspace: str, run_id: str) -> Any:
    """What is left of a run that was purged: status, ended_at, purged_at; None when it was not."""
    query = select(purged.c.status, purged.c.ended_at, purged.c.purged_at)
    return conn.execute(query.where(purged.c.run_id == run_id, purged.c.workspace == workspace)).one_or_none()


def made_again(conn: Connection, workspace: str, run_ids: Iterable[str]) -> set[str]:
    """Which of these ended runs another one was made from already."""
    first = {rerun_id(run_id, 1): run_id for run_id in run_ids}
    query = select(runs.c.id).where(runs.c.id.in_(list(first)), runs.c.workspace == workspace)
    return {first[id] for id in conn.execute(query).scalars()}


def related_runs(conn: Connection, workspace: str, run_id: str) -> list[RunSummary]:
    """The children of a run, and the runs that were made from it, oldest first."""
    query = (
        select(*_SUMMARY)
        .where(
            and_(runs.c.workspace == workspace, or_(runs.c.parent == run_id, runs.c.linked_from == run_id))
        )
        .order_by(runs.c.created_at, runs.c.id)
        .limit(200)
    )
    return [_summary(row) for row in conn.execute(query)]


def _summary(row: Row[Any]) -> RunSummary:
    values = dict(row._mapping)
    values["error"] = _decoded(values["error"])
    return RunSummary(**values)


def _decoded(text: str | None) -> Any:
    return orjson.loads(text) if text is not None else None
