"""How long the runs of an orchestrator stand still when it is killed, with a thousand of them in flight."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Select, func, select

from examples.ride.demo.client import Gateway
from examples.ride.demo.house import House, free_port
from store import tables
from store.database import Database
from tests.chaos.ticking import ROUNDS

__all__ = ["GOAL", "Takeover", "measure_takeover"]

APP = "tests.chaos.ticking:app"
GOAL = 8.0  # seconds: p99 from the kill to the next fact
RUNS = 1000
AT_ONCE = 50  # requests
LIMIT = 120.0  # seconds to wait for anything
SETTLED = 0.5  # seconds in which PostgreSQL has ended what a killed client had sent; well within a lease


@dataclass(frozen=True, slots=True)
class Takeover:
    """Seconds from ``kill -9`` of an owner to the next fact of each run of its partitions.

    ``in_flight``: those that had not ended when it died. ``others_p99_s``: the same of the runs that were not
    its own. ``doubled``: step results that are in the journal more often than once, ``lost``: runs that did
    not end, or without some step.
    """

    runs: int
    in_flight: int
    affected: int
    completed: int
    lost: int
    doubled: int
    p50_s: float
    p99_s: float
    longest_s: float
    others_p99_s: float


async def measure_takeover(folder: Path, settings: Mapping[str, str], *, runs: int = RUNS) -> Takeover:
    """Start a gateway and two orchestrators with the default leases, and ``runs`` runs; kill one.

    ``settings``: the addresses of the services, as ANTIPHON_* variables. Raises HouseFailed, TimeoutError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        port, key = free_port(), f"chaos-{secrets.token_hex(16)}"
        own = {"ANTIPHON_PORT": str(port), "ANTIPHON_ADMIN_KEY": key, "ANTIPHON_HOME": str(folder)}
        house = House(folder, {**settings, **own})
        stack.push_async_callback(asyncio.to_thread, house.stop)
        await asyncio.to_thread(house.run, "migrate", "migrate")
        await asyncio.to_thread(house.run, "keys", "keys", "init", APP)
        database = await Database.open(settings["ANTIPHON_DATABASE_URL"])
        stack.push_async_callback(database.close)
        journal = Journal(database)
        await asyncio.to_thread(house.start, "orchestrator-1", "orchestrator", APP)
        await _until(lambda owners: len(owners) == 1, journal)
        (victim,) = await journal.owners()
        await asyncio.to_thread(house.start, "orchestrator-2", "orchestrator", APP)
        await asyncio.to_thread(house.start, "gateway", "gateway", APP)
        await _until(lambda owners: len(owners) == 2 and len(set(owners.values())) == 1, journal)
        gateway = await stack.enter_async_context(Gateway(f"http://127.0.0.1:{port}", key))
        await house.ready(gateway)
        await _start(gateway, runs)
        affected = await journal.runs_of(victim)
        killed = time.time()
        await asyncio.to_thread(house.kill, "orchestrator-1")
        await asyncio.sleep(SETTLED)
        next_facts = await journal.next_facts(await journal.lengths())
        house.check()
        # A run whose last step was just in hand when its owner died may have ended in between.
        affected &= next_facts.keys()
        return await _account(journal, runs, affected, {run: at - killed for run, at in next_facts.items()})


async def _start(gateway: Gateway, runs: int) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def start(number: int) -> None:
        async with places:
            await gateway.start("ticking", {"id": f"t{number}"}, key=f"t{number}")

    await asyncio.gather(*map(start, range(runs)))


async def _account(journal: Journal, runs: int, affected: set[str], after: Mapping[str, float]) -> Takeover:
    completed, results = await journal.end(runs)
    whole = {run for run in completed if len(results[run]) == ROUNDS}
    mine = sorted(after[run] for run in affected)
    others = sorted(seconds for run, seconds in after.items() if run not in affected)
    return Takeover(
        runs=runs,
        in_flight=len(after),
        affected=len(affected),
        completed=len(completed),
        lost=runs - len(whole),
        doubled=sum(times - 1 for counted in results.values() for times in counted.values()),
        p50_s=_quantile(mine, 0.5),
        p99_s=_quantile(mine, 0.99),
        longest_s=_quantile(mine, 1.0),
        others_p99_s=_quantile(others, 0.99),
    )


def _quantile(ordered: list[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 2) if ordered else 0.0


async def _until(condition: Callable[[dict[str, int]], bool], journal: Journal) -> None:
    """Wait until the partitions are owned so. Raises TimeoutError."""
    async with asyncio.timeout(LIMIT):
        while not condition(await journal.owners()):
            await asyncio.sleep(0.1)


class Journal:
    """What the store says, read past the platform."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return await self._database.read(lambda connection: connection.execute(query).all())

    async def owners(self) -> dict[str, int]:
        """Who owns how many partitions; empty while somebody owns none of them."""
        table = tables.partitions
        query = select(table.c.owner, func.count()).group_by(table.c.owner)
        rows = await self._rows(query)
        return {} if any(owner is None for owner, _ in rows) else dict(map(tuple, rows))

    async def runs_of(self, owner: str) -> set[str]:
        """The open runs in the partitions of one owner."""
        runs, partitions = tables.runs.c, tables.partitions.c
        query = (
            select(runs.id)
            .join(tables.partitions, partitions.id == runs.partition)
            .where(partitions.owner == owner, runs.ended_at.is_(None))
        )
        return {run for (run,) in await self._rows(query)}

    async def lengths(self) -> dict[str, int]:
        """The number of facts of each open run."""
        history, runs = tables.history.c, tables.runs.c
        query = (
            select(history.run_id, func.max(history.seq))
            .join(tables.runs, runs.id == history.run_id)
            .where(runs.ended_at.is_(None))
            .group_by(history.run_id)
        )
        rows = await self._rows(query)
        return dict(map(tuple, rows))

    async def next_facts(self, lengths: Mapping[str, int]) -> dict[str, float]:
        """When each of these runs went on. Raises TimeoutError when one does not."""
        history = tables.history.c
        missing, found = dict(lengths), dict[str, float]()
        async with asyncio.timeout(LIMIT):
            while missing:
                query = select(history.run_id, history.seq, history.at).where(history.run_id.in_(missing))
                rows = await self._rows(query)
                found |= {run: at for run, seq, at in rows if seq == lengths[run] + 1}
                missing = {run: length for run, length in missing.items() if run not in found}
                await asyncio.sleep(0.5)
        return found

    async def end(self, runs: int) -> tuple[set[str], dict[str, Counter[str]]]:
        """The completed runs, once all are or none has completed for a while; and each step's results."""
        table, history = tables.runs.c, tables.history.c
        query = select(table.id).where(table.status == "completed")
        completed: set[str] = set()
        since = time.monotonic()
        while len(completed) < runs and time.monotonic() - since < LIMIT / 2:
            found = set(
                await self._database.read(lambda connection: connection.execute(query).scalars().all())
            )
            if len(found) > len(completed):
                completed, since = found, time.monotonic()
            await asyncio.sleep(0.5)
        facts = select(history.run_id, history.node).where(history.type == "step_completed")
        rows = await self._rows(facts)
        results: dict[str, Counter[str]] = {run: Counter() for run in completed}
        for run, node in rows:
            results.setdefault(run, Counter())[node] += 1
        return completed, results
