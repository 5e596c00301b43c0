"""What stands against moving a run to another version of its flow, as the run lies in the store now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from contracts.errors import RunNotFound, UnknownFlow
from orchestrator.catalog import Catalog
from orchestrator.migration import Move, can_move
from orchestrator.records import load_run
from store.database import Database
from store.tables import runs

__all__ = ["Objections"]


class Objections:
    """Asks the store alone: no bus is needed, and nothing is changed."""

    def __init__(self, catalog: Catalog, database: Database, check: Callable[[str, Any], None]) -> None:
        self._catalog = catalog
        self._database = database
        self._check = check

    async def to(self, move: Move, workspace: str, run_id: str) -> list[str]:
        """Why a run can't be moved as it stands now; empty when it can. Raises RunNotFound, UnknownFlow."""
        query = select(runs).where(runs.c.id == run_id, runs.c.workspace == workspace)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise RunNotFound(f"there is no run {run_id!r} in workspace {workspace!r}")
        run = load_run(row._asdict())
        old, new = self._catalog.find(run.flow, run.version), self._catalog.find(run.flow, move.to)
        if old is None or new is None:
            version = run.version if old is None else move.to
            raise UnknownFlow(f"this app has no version {version} of flow {run.flow!r}")
        return can_move(run, old, new, move, self._check)
