"""The first look: is anything wrong, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bus.port import QueueStats
from contracts.errors import BusError, StoreError
from gateway.dashboard.routes.quarantine import workspaces_of
from gateway.dashboard.session import Session
from gateway.dashboard.views import Desk, page
from gateway.platform import Platform
from gateway.queries.dead_letters import DeadLetterGroup, list_groups
from gateway.queries.overview import (
    Minute,
    Oldest,
    ReactorNumbers,
    count_by_status,
    count_dead,
    held_in_quarantine,
    oldest_open,
    per_minute,
    reactor_numbers,
    stuck_runs,
)
from gateway.queries.processes import Partition, Process, list_partitions, list_processes, outbox_depth
from gateway.queries.reconciliation import Reconciliation, read_reconciliation
from gateway.queries.runs import RunSummary

__all__ = ["ROUTES"]

_ANSWER_WITHIN = 1.5  # seconds that the broker and the live store get to answer


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute as bars: places and heights in percent of the chart."""

    minute: Minute
    x: float
    width: float
    started: float
    completed: float
    failed: float


@dataclass(frozen=True, slots=True)
class Health:
    """One thing that Antiphon stands on; ``state`` is up, down or unknown."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """Everything that the page reads from the store, in one snapshot.

    ``groups`` are the largest; ``dead`` counts all letters and all groups.
    """

    statuses: dict[str, int]
    minutes: list[Minute]
    oldest: Oldest | None
    stuck: list[RunSummary]
    groups: list[DeadLetterGroup]
    dead: tuple[int, int]
    quarantined: int
    reactors: list[ReactorNumbers]
    processes: list[Process]
    partitions: list[Partition]
    outbox: int
    reconciliation: Reconciliation


def read_numbers(
    conn: Connection, workspace: str, reactors: Sequence[str], now: float, visible: Sequence[str]
) -> Numbers:
    """The numbers of one workspace; ``visible``: whose messages in quarantine its operators see."""
    return Numbers(
        statuses=count_by_status(conn, workspace),
        minutes=per_minute(conn, workspace, now=now),
        oldest=oldest_open(conn, workspace),
        stuck=stuck_runs(conn, workspace, most=8),
        groups=list_groups(conn, workspace, most=6),
        dead=count_dead(conn, workspace),
        quarantined=held_in_quarantine(conn, visible),
        reactors=reactor_numbers(conn, workspace, reactors),
        processes=list_processes(conn, now),
        partitions=list_partitions(conn, now),
        outbox=outbox_depth(conn),
        reconciliation=read_reconciliation(conn, workspace, now),
    )


def bars(minutes: Sequence[Minute]) -> tuple[list[Bar], int]:
    """The chart, and how many runs its top stands for."""
    most = max((max(minute.started, minute.completed + minute.failed) for minute in minutes), default=0)
    top = _round_up(most)
    width = 100 / max(len(minutes), 1)
    return [
        Bar(
            minute,
            round(index * width, 3),
            round(width, 3),
            round(minute.started * 100 / top, 2),
            round(minute.completed * 100 / top, 2),
            round(minute.failed * 100 / top, 2),
        )
        for index, minute in enumerate(minutes)
    ], top


def _round_up(most: int) -> int:
    """The next of 5, 10, 20, 50, 100 …: a scale that does not jump with each run."""
    size = 1
    while True:
        for step in (5, 10, 20):
            if most <= step * size:
                return step * size
        size *= 10


async def health(platform: Platform) -> tuple[list[Health], dict[str, QueueStats]]:
    """Store (it answered, or there would be no page), bus and live feed; and how each queue stands."""
    found: dict[str, QueueStats] = {}

    async def ask_live() -> Health:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                await platform.live.ping()
        except (StoreError, TimeoutError) as error:
            return Health("Live feed", "down", str(error) or "no answer in time")
        return Health("Live feed", "up", "answers")

    async def ask_bus() -> Health:
        state, queues = platform.bus.state, platform.watched_queues()
        if state != "connected" or not queues:
            return Health("Bus", "up" if state == "connected" else "down", state)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                stats = await asyncio.gather(*(platform.bus.stats(queue) for queue in queues))
        except (BusError, TimeoutError) as error:
            return Health("Bus", "down", str(error) or "no answer in time")
        found.update(zip(queues, stats, strict=True))
        return Health("Bus", "up", f"{sum(each.ready for each in stats)} messages wait")

    live, bus = await asyncio.gather(ask_live(), ask_bus())
    return [Health("Store", "up", platform.database.dialect), bus, live], found


@page()
async def overview(request: Request, desk: Desk, session: Session) -> Response:
    """The page, and the part of it that is asked for again every few seconds."""
    now, workspace = desk.now(), session.principal.workspace
    names = [reactor.name for reactor in desk.platform.reactors]
    visible = workspaces_of(desk, session)
    numbers, (healths, queues) = await asyncio.gather(
        desk.platform.database.read(lambda conn: read_numbers(conn, workspace, names, now, visible)),
        health(desk.platform),
    )
    chart, top = bars(numbers.minutes)
    template = "_overview.html" if request.headers.get("hx-request") else "overview.html"
    return desk.render(
        request,
        template,
        session,
        numbers=numbers,
        health=healths,
        queues=queues,
        chart=chart,
        top=top,
        minutes=numbers.minutes,
    )


ROUTES = [Route("/overview", overview)]
