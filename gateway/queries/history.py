"""A run's history: its facts, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, select

from store.lookups import of_its_run
from store.tables import history, runs

__all__ = ["Fact", "list_facts"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact. ``seq`` counts from 1 within the run; ``at`` is in seconds since the epoch."""

    run_id: str
    seq: int
    type: str
    node: str | None
    at: float
    data: Any


def list_facts(
    conn: Connection, workspace: str, run_id: str, *, after: int = 0, most: int = 1000
) -> list[Fact]:
    """A run's facts with a number greater than ``after``, in order, ``most`` at the most."""
    query = (
        select(history)
        .join(runs, of_its_run)
        .where(runs.c.workspace == workspace, runs.c.id == run_id, history.c.seq > after)
        .order_by(history.c.seq)
        .limit(most)
    )
    return [
        Fact(row.run_id, row.seq, row.type, row.node, row.at, orjson.loads(row.data))
        for row in conn.execute(query)
    ]
