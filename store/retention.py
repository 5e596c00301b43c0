"""Retention: what is old is archived, then purged, a batch at a time.

A batch is read, written to the archive and synced, and only then deleted, in one transaction. A crash
between leaves the rows where they are, and the next sweep archives them again: a line may be in the archive
twice, none is missing. Between two batches the sweep pauses, so that it takes no more than its share of the
database's time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, func, select

from contracts.crash import reached
from store.archive import Archive
from store.database import Database
from store.shelves import SHELVES, Batch, Runs, Shelf, drop_runs, forget_requests
from store.tables import partitions, purged, runs

__all__ = ["KEYS_KEPT", "Due", "Retention", "Swept"]

KEYS_KEPT = 7 * 86_400.0  # s: how long an idempotency key is remembered at least
_BATCH = 500
_SHARE = 0.2  # of the time, at work


@dataclass(slots=True)
class Swept:
    """What one sweep did: how many of each kind, and the files they are in."""

    purged: dict[str, int] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """What a sweep would take now, by kind; the end of the oldest run, and how many were purged before."""

    counts: dict[str, int]
    oldest_end: float | None
    purged_before: int


class Retention:
    """Sweeps one store into one archive.

    ``inbox_at_least`` is how long the records of reactions stay, whatever the age asked for: for as long as
    their messages could still come again. ``clock`` gives seconds since the epoch; times are in seconds.
    """

    def __init__(
        self,
        database: Database,
        archive: Archive,
        *,
        inbox_at_least: float = 0.0,
        batch: int = _BATCH,
        share: float = _SHARE,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._archive = archive
        self._inbox_at_least = inbox_at_least
        self._batch = batch
        self._idle = (1 - share) / share
        self._clock = clock
        self._sleep = sleep

    async def sweep(self, older_than: float | None) -> Swept:
        """Archive and purge what ended longer ago than that; None: forget old requests only.

        Raises ArchiveFailed and StoreUnavailable; what was purged until then is in the archive.
        """
        swept = Swept()
        if older_than is not None:
            await asyncio.to_thread(self._archive.tidy)
            await self._sweep_runs(older_than, swept)
            for shelf in SHELVES:
                await self._sweep_shelf(shelf, older_than, swept)
        swept.requests = await self._forget_requests(older_than or 0.0)
        return swept

    async def due(self, older_than: float) -> Due:
        """What a sweep would take now. Raises StoreUnavailable."""
        return await self._database.read(partial(self._count, older_than))

    def _count(self, older_than: float, conn: Connection) -> Due:
        before = self._clock() - older_than
        counts = {"run": sum(Runs(partition).count(conn, before) for partition in _partitions(conn))}
        counts |= {shelf.kind: shelf.count(conn, self._before(shelf, older_than)) for shelf in SHELVES}
        oldest = conn.execute(select(func.min(runs.c.ended_at))).scalar_one()
        gone = conn.execute(select(func.count()).select_from(purged)).scalar_one()
        return Due(counts, oldest, gone)

    def _before(self, shelf: Shelf, older_than: float) -> float:
        """What is older than this is old enough to leave that shelf."""
        kept = max(older_than, self._inbox_at_least) if shelf.kind == "reaction" else older_than
        return self._clock() - kept

    async def _sweep_runs(self, older_than: float, swept: Swept) -> None:
        before = self._clock() - older_than
        for partition in await self._database.read(_partitions):
            shelf = Runs(partition)
            take = partial(shelf.take, before=before, most=self._batch)
            while True:
                began = time.monotonic()
                batch = await self._database.read(take)
                if not batch.keys:
                    break
                await self._keep("run", batch, swept)
                gone = partial(drop_runs, keys=batch.keys, at=self._clock())
                reached("store.retention.runs.before")
                await self._database.write(gone)
                reached("store.retention.runs.after")
                await self._rest(began)

    async def _sweep_shelf(self, shelf: Shelf, older_than: float, swept: Swept) -> None:
        before = self._before(shelf, older_than)
        after: float | None = None
        while True:
            began = time.monotonic()
            take = partial(shelf.take, before=before, most=self._batch, after=after)
            batch = await self._database.read(take)
            if not batch.keys:
                break
            after = batch.after
            await self._keep(shelf.kind, batch, swept)
            gone = partial(shelf.drop, keys=batch.keys)
            reached("store.retention.shelf.before")
            await self._database.write(gone)
            reached("store.retention.shelf.after")
            await self._rest(began)

    async def _keep(self, kind: str, batch: Batch, swept: Swept) -> None:
        path = await asyncio.to_thread(self._archive.keep, kind, batch.lines)
        swept.files.append(path)
        swept.purged[kind] = swept.purged.get(kind, 0) + len(batch.keys)

    async def _forget_requests(self, older_than: float) -> int:
        before = self._clock() - max(KEYS_KEPT, older_than)
        forgotten = 0
        while True:
            began = time.monotonic()
            forget = partial(forget_requests, before=before, most=self._batch)
            reached("store.retention.requests.before")
            count = await self._database.write(forget)
            reached("store.retention.requests.after")
            forgotten += count
            if count < self._batch:
                return forgotten
            await self._rest(began)

    async def _rest(self, began: float) -> None:
        await self._sleep((time.monotonic() - began) * self._idle)


def _partitions(conn: Connection) -> list[int]:
    return list(conn.execute(select(partitions.c.id).order_by(partitions.c.id)).scalars())
