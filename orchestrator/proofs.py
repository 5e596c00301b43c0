"""What the reconciler reads of the store, and the row in which it leaves what it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection, case, literal, select, tuple_

from contracts.crash import reached
from orchestrator.doubts import Child, QuietRun
from orchestrator.outcomes import rerun_id
from orchestrator.records import UNREADABLE, read_state
from store import tables
from store.bulk import insert_rows
from store.database import Database

__all__ = ["Findings", "Place", "Proofs"]

log = structlog.get_logger(__name__)

Place = tuple[float, str]  # among the open runs of a partition: when one was created, and its id


@dataclass(slots=True)
class Findings:
    """What one look at all of a partition's open runs has found.

    ``listed`` are some of the unproven: run_id, workspace, flow, key, since, code, reason. ``repaired``
    counts by reason since the store was made.
    """

    proved: int = 0
    unproven: int = 0
    listed: list[dict[str, Any]] = field(default_factory=list)
    repaired: dict[str, int] = field(default_factory=dict)


class Proofs:
    """The reconcilers' part of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, partition: int, *, after: Place | None, before: float, most: int
    ) -> tuple[list[QuietRun], Place | None]:
        """Open runs behind a place that nothing has happened to since ``before``, the oldest first.

        With all that a proof needs, in three queries at the most; and the place to go on from, None at the
        end.
        """
        return await self._database.read(lambda connection: _page(connection, partition, after, before, most))

    async def repaired(self, partition: int) -> dict[str, int]:
        """How many repairs earlier owners have counted."""
        query = select(tables.reconciliations.c.repaired).where(
            tables.reconciliations.c.partition == partition
        )
        found = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
        return dict(orjson.loads(found)) if found is not None else {}

    async def keep(self, partition: int, epoch: int, findings: Findings, at: float) -> None:
        """Leave it where every gateway reads it; an owner that is none any more leaves nothing."""
        row = {
            "partition": partition,
            "epoch": epoch,
            "at": at,
            "proved": findings.proved,
            "unproven": findings.unproven,
            "listed": orjson.dumps(findings.listed).decode(),
            "repaired": orjson.dumps(findings.repaired).decode(),
        }
        owner = select(tables.partitions.c.epoch).where(tables.partitions.c.id == partition)

        def write(connection: Connection) -> None:
            if connection.execute(owner).scalar_one_or_none() == epoch:
                insert_rows(connection, tables.reconciliations, [row], on_conflict="update")

        reached("orchestrator.proofs.keep.before")
        await self._database.write(write)
        reached("orchestrator.proofs.keep.after")


def _page(
    connection: Connection, partition: int, after: Place | None, before: float, most: int
) -> tuple[list[QuietRun], Place | None]:
    columns = tables.runs.c
    query = (
        select(
            columns.id,
            columns.workspace,
            columns.flow,
            columns.version,
            columns.key,
            columns.created_at,
            columns.updated_at,
            columns.state,
        )
        .where(columns.partition == partition, columns.ended_at.is_(None))
        .where(columns.updated_at < before)
        .order_by(columns.created_at, columns.id)
        .limit(most)
    )
    if after is not None:
        query = query.where(tuple_(columns.created_at, columns.id) > tuple_(*map(literal, after)))
    rows = connection.execute(query).all()
    states = {row.id: _state(row.id, row.state) for row in rows}
    waited_for = {child for state in states.values() for child in _children(state)}
    timers = _timers(connection, list(states))
    children = _found(connection, sorted(waited_for))
    page = [
        QuietRun(
            row.id,
            row.workspace,
            row.flow,
            row.version,
            row.key,
            row.updated_at,
            state.get("active", {}),
            state.get("paused", False),
            timers.get(row.id, {}),
            {child: children[child] for child in _children(state) if child in children},
            state.get("odd"),
        )
        for row, state in ((row, states[row.id]) for row in rows)
    ]
    return page, (rows[-1].created_at, rows[-1].id) if len(rows) == most else None


def _state(run_id: str, text: str) -> dict[str, Any]:
    """What is read of a run's state; ``odd`` says why it can't be. One such row is no other run's trouble."""
    try:
        state = read_state(text)
        active = {str(node): dict(entry) for node, entry in state.get("active", {}).items()}
        if not all(isinstance(entry["kind"], str) for entry in active.values()):
            raise TypeError("a node at work has no kind")
        return {"active": active, "paused": bool(state.get("paused"))}
    except UNREADABLE as error:
        log.error("run_unreadable", run=run_id, error=f"{type(error).__name__}: {error}")
        return {"odd": f"{type(error).__name__}: {error}"[:500]}


def _children(state: dict[str, Any]) -> list[str]:
    active = [entry for entry in state.get("active", {}).values() if "stuck" not in entry]
    return [entry["child"] for entry in active if isinstance(entry.get("child"), str)]


def _timers(connection: Connection, run_ids: list[str]) -> dict[str, dict[str, float]]:
    columns = tables.timers.c
    query = select(columns.run_id, columns.name, columns.due_at).where(columns.run_id.in_(run_ids))
    found: dict[str, dict[str, float]] = {}
    for row in connection.execute(query) if run_ids else ():
        found.setdefault(row.run_id, {})[row.name] = row.due_at
    return found


def _found(connection: Connection, run_ids: list[str]) -> dict[str, Child]:
    """Children by the ids that parents know; one that was made again ends with the newest made from it."""
    columns = tables.runs.c
    state = case((columns.ended_at.is_not(None), columns.state))
    query = select(columns.id, columns.parent, columns.ended_at, state.label("state"))
    found: dict[str, Child] = {}
    known_as = {run_id: run_id for run_id in run_ids}
    while known_as:
        newer: dict[str, str] = {}
        for row in connection.execute(query.where(columns.id.in_(known_as))):
            child = known_as[row.id]
            found[child] = Child(found[child].parent if child in found else row.parent, row.ended_at)
            if reruns := _reruns(row.id, row.state):
                newer[rerun_id(row.id, reruns)] = child
        known_as = newer
    return found


def _reruns(run_id: str, text: Any) -> int:
    """How often an ended run was made again. One that can't be read counts as never."""
    try:
        return int(read_state(text).get("reruns", 0)) if text is not None else 0
    except UNREADABLE as error:
        log.error("run_unreadable", run=run_id, error=f"{type(error).__name__}: {error}")
        return 0
