"""Versions in flight, as an operator sees and moves them from a terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, Select, func, select

from antiphon.app import App
from contracts.errors import NotMigratable, RunEnded, RunNotFound, UnknownFlow
from gateway.audit import write_down
from orchestrator.client import Client
from orchestrator.migration import Move
from orchestrator.objections import Objections
from store.database import Database
from store.lookups import of_its_run
from store.tables import history, runs

__all__ = ["Moved", "Version", "ids_of", "look_at", "move_runs", "settled", "versions_of"]

_PAGE = 500
_PAUSE = 0.2  # seconds between looks at what became of a request


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a flow: whether the app has it, and how many runs of it are open, in all workspaces."""

    flow: str
    version: int
    here: bool
    newest: bool
    open: int
    stuck: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one run: possible (nothing was asked), asked, moved, or refused with the reasons."""

    run: str
    outcome: str
    reasons: list[str] = field(default_factory=list)
    seq: int = 0  # the newest fact of the run before it was asked


async def versions_of(app: App, database: Database) -> list[Version]:
    """Every version that the app has, or that an open run still needs."""
    query = (
        select(runs.c.flow, runs.c.version, runs.c.status, func.count())
        .where(runs.c.ended_at.is_(None))
        .group_by(runs.c.flow, runs.c.version, runs.c.status)
    )
    rows = await database.read(lambda conn: conn.execute(query).all())
    counts: dict[tuple[str, int], dict[str, int]] = {(flow.name, flow.version): {} for flow in app.flows}
    here = set(counts)
    for flow, version, status, count in rows:
        counts.setdefault((flow, version), {})[status] = int(count)
    newest = dict(sorted(here))
    return [
        Version(
            flow,
            version,
            (flow, version) in here,
            newest.get(flow) == version,
            sum(found.values()),
            found.get("stuck", 0),
        )
        for (flow, version), found in sorted(counts.items())
    ]


async def ids_of(database: Database, workspace: str, flow: str, version: int) -> list[str]:
    """The open runs of one version of a flow, by id."""
    found: list[str] = []
    while True:
        query = (
            select(runs.c.id)
            .where(runs.c.workspace == workspace, runs.c.flow == flow, runs.c.version == version)
            .where(runs.c.ended_at.is_(None), runs.c.id > (found[-1] if found else ""))
            .order_by(runs.c.id)
            .limit(_PAGE)
        )
        page = await database.read(partial(_scalars, query))
        found += page
        if len(page) < _PAGE:
            return found


async def look_at(
    objections: Objections,
    database: Database,
    workspace: str,
    ids: Sequence[str],
    move: Move,
    *,
    came_from: tuple[str, int],
) -> list[Moved]:
    """Which could be moved, and why others can't. ``came_from``: as for ``move_runs``."""

    async def look(run_id: str, seq: int) -> Moved:
        reasons = await objections.to(move, workspace, run_id)
        return Moved(run_id, "refused" if reasons else "possible", reasons, seq)

    return await _each(database, workspace, ids, came_from, look)


async def move_runs(
    client: Client,
    database: Database,
    workspace: str,
    ids: Sequence[str],
    move: Move,
    *,
    came_from: tuple[str, int],
    reason: str,
    actor: str,
) -> list[Moved]:
    """Ask for each that can be moved. One that can't is no other's trouble.

    ``came_from``: the flow and the version that they must have.
    """

    async def ask(run_id: str, seq: int) -> Moved:
        await write_down(
            database,
            workspace=workspace,
            at=time.time(),
            actor=actor,
            action="run.migrate",
            target=f"run/{run_id}",
            reason=reason,
            detail={"to": move.to, "renames": dict(move.renames), "without": list(move.without)},
        )
        await client.migrate(workspace, run_id, move, reason=reason, actor=actor)
        return Moved(run_id, "asked", seq=seq)

    return await _each(database, workspace, ids, came_from, ask)


async def _each(
    database: Database,
    workspace: str,
    ids: Sequence[str],
    came_from: tuple[str, int],
    do: Callable[[str, int], Awaitable[Moved]],
) -> list[Moved]:
    """What ``do`` makes of each run of that flow and version, by its id and the number of its newest fact."""
    outcomes = []
    for run_id in ids:
        try:
            outcomes.append(await do(run_id, await _is_of(database, workspace, run_id, came_from)))
        except NotMigratable as error:
            outcomes.append(Moved(run_id, "refused", error.reasons))
        except (RunNotFound, RunEnded, UnknownFlow) as error:
            outcomes.append(Moved(run_id, "refused", [str(error)]))
    return outcomes


async def _is_of(database: Database, workspace: str, run_id: str, came_from: tuple[str, int]) -> int:
    """Raises RunNotFound, NotMigratable; the number of the run's newest fact."""
    query = select(runs.c.flow, runs.c.version, runs.c.seq).where(
        runs.c.id == run_id, runs.c.workspace == workspace
    )
    row = await database.read(lambda conn: conn.execute(query).one_or_none())
    if row is None:
        raise RunNotFound(f"there is no run {run_id!r} in workspace {workspace!r}")
    if (row.flow, row.version) != came_from:
        raise NotMigratable(run_id, [f"it is of {row.flow!r} version {row.version}"])
    return int(row.seq)


async def settled(database: Database, outcomes: Iterable[Moved], to: int, within: float) -> list[Moved]:
    """The same, with what the owners have made of the requests by now, or within so many seconds."""
    found = list(outcomes)
    end = time.monotonic() + within
    while True:
        asked = [moved for moved in found if moved.outcome == "asked"]
        known: dict[str, Moved] = {}
        for at in range(0, len(asked), _PAGE):
            page = asked[at : at + _PAGE]
            known |= await database.read(partial(_became, page, to))
        found = [known.get(moved.run, moved) for moved in found]
        if len(known) == len(asked) or time.monotonic() >= end:
            return found
        await asyncio.sleep(_PAUSE)


def _scalars(query: Select[Any], conn: Connection) -> list[str]:
    return list(conn.execute(query).scalars())


def _became(asked: list[Moved], to: int, conn: Connection) -> dict[str, Moved]:
    since = {moved.run: moved.seq for moved in asked}
    there = select(runs.c.id).where(runs.c.id.in_(since), runs.c.version == to)
    known = {run_id: Moved(run_id, "moved", seq=since[run_id]) for run_id in conn.execute(there).scalars()}
    refusals = (
        select(history.c.run_id, history.c.seq, history.c.data)
        .join(runs, of_its_run)
        .where(runs.c.id.in_(set(since) - set(known)), history.c.type == "migration_refused")
    )
    for run_id, seq, data in conn.execute(refusals.order_by(history.c.seq)):
        if seq > since[run_id]:  # not of an earlier try
            known[run_id] = Moved(run_id, "refused", list(orjson.loads(data)["because"]), since[run_id])
    return known
