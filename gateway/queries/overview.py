"""The numbers at a glance, all from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Integer, cast, func, select

from gateway.queries.runs import RunFilter, RunSummary, list_runs
from store.tables import dead_letters, quarantine, reactions, runs

__all__ = [
    "Minute",
    "Oldest",
    "ReactorNumbers",
    "count_by_status",
    "count_dead",
    "dead_by_reactor",
    "held_in_quarantine",
    "oldest_open",
    "per_minute",
    "reactor_numbers",
    "stuck_runs",
]

_SAMPLE = 2_000  # newest finished reactions per reactor that percentiles are taken from


@dataclass(frozen=True, slots=True)
class Minute:
    """What happened to runs in the minute that begins ``at`` (seconds since the epoch)."""

    at: int
    started: int
    completed: int
    failed: int  # failed, compensated and cancelled together


@dataclass(frozen=True, slots=True)
class Oldest:
    """The open run that has stood still the longest."""

    run_id: str
    flow: str
    status: str
    waiting: str | None
    since: float


@dataclass(frozen=True, slots=True)
class ReactorNumbers:
    """How one reactor does. Times are seconds over its newest finished reactions; None without any."""

    reactor: str
    claimed: int
    retrying: int
    done: int
    dead: int
    oldest_open: float | None  # when the oldest reaction that is not settled was received
    waited_p50: float | None
    waited_p95: float | None
    worked_p50: float | None
    worked_p95: float | None


def count_by_status(conn: Connection, workspace: str | None) -> dict[str, int]:
    """How many runs have each status; ``workspace`` None counts all of them."""
    query = select(runs.c.status, func.count()).group_by(runs.c.status)
    query = query.where(*_in(runs.c.workspace, workspace))
    return {status: int(count) for status, count in conn.execute(query)}


def per_minute(conn: Connection, workspace: str, *, now: float, minutes: int = 60) -> list[Minute]:
    """The last ``minutes`` minutes, oldest first, the empty ones too."""
    newest = int(now // 60)
    since = (newest - minutes + 1) * 60
    started: dict[int, int] = {}
    ended: dict[int, dict[bool, int]] = {}
    # CAST rounds on PostgreSQL and truncates on SQLite; floor does the same on both.
    minute = cast(func.floor(runs.c.created_at / 60), Integer)
    query = select(minute, func.count()).where(runs.c.workspace == workspace, runs.c.created_at >= since)
    for at, count in conn.execute(query.group_by(minute)):
        started[at] = count
    minute = cast(func.floor(runs.c.ended_at / 60), Integer)
    well = runs.c.status == "completed"
    query2 = select(minute, well, func.count()).where(runs.c.workspace == workspace, runs.c.ended_at >= since)
    for at, completed, count in conn.execute(query2.group_by(minute, well)):
        ended.setdefault(at, {})[bool(completed)] = count
    return [
        Minute(at * 60, started.get(at, 0), ended.get(at, {}).get(True, 0), ended.get(at, {}).get(False, 0))
        for at in range(newest - minutes + 1, newest + 1)
    ]


def oldest_open(conn: Connection, workspace: str | None) -> Oldest | None:
    """The open run whose newest fact is the oldest; None when every run has ended."""
    row = conn.execute(
        select(runs.c.id, runs.c.flow, runs.c.status, runs.c.waiting, runs.c.updated_at)
        .where(runs.c.ended_at.is_(None), *_in(runs.c.workspace, workspace))
        .order_by(runs.c.updated_at)
        .limit(1)
    ).one_or_none()
    return Oldest(row.id, row.flow, row.status, row.waiting, row.updated_at) if row is not None else None


def stuck_runs(conn: Connection, workspace: str, *, most: int = 20) -> list[RunSummary]:
    """Runs that wait for an operator, newest first."""
    return list_runs(conn, workspace, RunFilter(statuses=("stuck",)), most=most).items


def dead_by_reactor(conn: Connection, workspace: str | None) -> dict[str, int]:
    """How many dead letters each reactor has that nobody has settled."""
    query = (
        select(dead_letters.c.reactor, func.count())
        .where(dead_letters.c.status == "dead", *_in(dead_letters.c.workspace, workspace))
        .group_by(dead_letters.c.reactor)
    )
    return {reactor: int(count) for reactor, count in conn.execute(query)}


def count_dead(conn: Connection, workspace: str) -> tuple[int, int]:
    """How many dead letters nobody has settled, and in how many groups they are."""
    d = dead_letters.c
    query = select(func.count(), func.count(d.group_key.distinct()))
    letters, groups = conn.execute(query.where(d.workspace == workspace, d.status == "dead")).one()
    return int(letters), int(groups)


def held_in_quarantine(conn: Connection, workspaces: Sequence[str] | None) -> int:
    """How many messages are held; the workspace of one that named none is the empty string."""
    query = select(func.count()).select_from(quarantine).where(quarantine.c.status == "held")
    if workspaces is not None:
        query = query.where(quarantine.c.workspace.in_(list(workspaces)))
    return int(conn.execute(query).scalar_one())


def reactor_numbers(conn: Connection, workspace: str, names: Sequence[str]) -> list[ReactorNumbers]:
    """The numbers of these reactors, in their order, those without any reaction too."""
    counts: dict[str, dict[str, int]] = {}
    oldest: dict[str, float] = {}
    query = (
        select(reactions.c.reactor, reactions.c.status, func.count(), func.min(reactions.c.received_at))
        .where(reactions.c.workspace == workspace, reactions.c.reactor.in_(list(names)))
        .group_by(reactions.c.reactor, reactions.c.status)
    )
    for reactor, status, count, first in conn.execute(query):
        counts.setdefault(reactor, {})[status] = int(count)
        if status in ("claimed", "retrying"):
            oldest[reactor] = min(first, oldest.get(reactor, first))
    return [_numbers(conn, workspace, name, counts.get(name, {}), oldest.get(name)) for name in names]


def _numbers(
    conn: Connection, workspace: str, reactor: str, counts: dict[str, int], oldest: float | None
) -> ReactorNumbers:
    query = (
        select(reactions.c.received_at, reactions.c.started_at, reactions.c.finished_at)
        .where(
            reactions.c.workspace == workspace,
            reactions.c.reactor == reactor,
            reactions.c.finished_at.is_not(None),
        )
        .order_by(reactions.c.finished_at.desc())
        .limit(_SAMPLE)
    )
    sample = conn.execute(query).all()
    waited = sorted(max(0.0, row.started_at - row.received_at) for row in sample)
    worked = sorted(max(0.0, row.finished_at - row.started_at) for row in sample)
    return ReactorNumbers(
        reactor=reactor,
        claimed=counts.get("claimed", 0),
        retrying=counts.get("retrying", 0),
        done=counts.get("done", 0),
        dead=counts.get("dead", 0),
        oldest_open=oldest,
        waited_p50=_share(waited, 0.5),
        waited_p95=_share(waited, 0.95),
        worked_p50=_share(worked, 0.5),
        worked_p95=_share(worked, 0.95),
    )


def _share(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _in(column: ColumnElement[str], workspace: str | None) -> list[ColumnElement[bool]]:
    return [] if workspace is None else [column == workspace]
