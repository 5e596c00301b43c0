"""Whether every open run can go on: what the reconcilers found, and what has no owner to look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from gateway.queries.processes import list_partitions
from store.tables import reconciliations, runs

__all__ = ["Reconciliation", "Unproven", "read_reconciliation"]


@dataclass(frozen=True, slots=True)
class Unproven:
    """An open run that may not go on by itself. ``since`` is when its newest fact was."""

    run_id: str
    flow: str
    version: int
    key: str
    since: float
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What the newest looks at all partitions have found.

    ``proved``, ``unproven``, ``unowned`` and ``repaired`` count the runs of all workspaces; ``listed``
    holds those of the one that was asked for. ``oldest`` is when the partition that was looked at
    longest ago was; None when one never was. ``unowned`` are open runs whose partition nobody owns.
    """

    proved: int
    unproven: int
    unowned: int
    repaired: dict[str, int]
    oldest: float | None
    listed: list[Unproven]


def read_reconciliation(conn: Connection, workspace: str | None, now: float) -> Reconciliation:
    """The findings as they stand; ``workspace`` None lists the runs of all."""
    rows = conn.execute(select(reconciliations)).all()
    partitions = list_partitions(conn, now)
    looked_at = {row.partition for row in rows}
    repaired: dict[str, int] = {}
    listed: list[Unproven] = []
    for row in rows:
        for reason, count in orjson.loads(row.repaired).items():
            repaired[reason] = repaired.get(reason, 0) + count
        shown = [run for run in orjson.loads(row.listed) if workspace in (None, run["workspace"])]
        listed += [_unproven(run) for run in shown]
    return Reconciliation(
        proved=sum(row.proved for row in rows),
        unproven=sum(row.unproven for row in rows),
        unowned=_open_in(conn, [partition.id for partition in partitions if not partition.held]),
        repaired=repaired,
        oldest=min((row.at for row in rows), default=None)
        if all(partition.id in looked_at for partition in partitions)
        else None,
        listed=sorted(listed, key=lambda run: run.since),
    )


def _unproven(run: dict[str, Any]) -> Unproven:
    names = ("run_id", "flow", "version", "key", "since", "code", "reason")
    return Unproven(**{name: run[name] for name in names})


def _open_in(conn: Connection, partitions: list[int]) -> int:
    if not partitions:
        return 0
    query = select(func.count()).where(runs.c.partition.in_(partitions), runs.c.ended_at.is_(None))
    return int(conn.execute(query).scalar_one())
