"""Which processes are there, and who owns which partition. Shared by all workspaces: no tenant's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from store.tables import outbox, partitions, processes, timers

__all__ = ["Partition", "Process", "list_partitions", "list_processes", "outbox_depth", "overdue_timers"]


@dataclass(frozen=True, slots=True)
class Process:
    """One incarnation of one role; ``alive`` is judged by the time that is handed in."""

    id: str
    role: str
    name: str
    started_at: float
    alive_until: float
    alive: bool
    detail: Any


@dataclass(frozen=True, slots=True)
class Partition:
    """A slice of the runs, and who owns it; ``held`` is whether the lease still runs."""

    id: int
    owner: str | None
    epoch: int
    lease_until: float
    held: bool


def list_processes(conn: Connection, now: float, *, seen_within: float = 3600.0) -> list[Process]:
    """Processes that were alive in the last ``seen_within`` seconds, by role and start."""
    query = (
        select(processes)
        .where(processes.c.alive_until >= now - seen_within)
        .order_by(processes.c.role, processes.c.started_at, processes.c.id)
    )
    return [
        Process(
            row.id,
            row.role,
            row.name,
            row.started_at,
            row.alive_until,
            row.alive_until >= now,
            orjson.loads(row.detail) if row.detail else None,
        )
        for row in conn.execute(query)
    ]


def list_partitions(conn: Connection, now: float) -> list[Partition]:
    """All partitions, in order."""
    query = select(partitions).order_by(partitions.c.id)
    return [
        Partition(
            row.id, row.owner, row.epoch, row.lease_until, row.owner is not None and row.lease_until >= now
        )
        for row in conn.execute(query)
    ]


def outbox_depth(conn: Connection) -> int:
    """How many messages are committed and not known to be published yet."""
    return int(conn.execute(select(func.count()).select_from(outbox)).scalar_one())


def overdue_timers(conn: Connection, now: float, *, late: float = 30.0) -> int:
    """How many timers should have fired more than ``late`` seconds ago: something is not making progress."""
    return int(
        conn.execute(
            select(func.count()).select_from(timers).where(timers.c.due_at < now - late)
        ).scalar_one()
    )
