"""Proves, all the time, that every run that has not ended has a reason to wait that can still happen.

Nothing here should ever find anything: what it repairs was lost by a bug, or by a hand in the database.
It looks only at runs that nothing has happened to for a while, a page at a time, and at columns, so
that a hundred thousand waiting runs cost a few queries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from contracts.errors import StoreError
from orchestrator.happenings import Happening, Reconciled
from orchestrator.journal import Journal, QuietRun

__all__ = ["Doubts", "Reconciler", "doubts_about"]

log = structlog.get_logger(__name__)

EVERY = 10.0  # seconds between pages
QUIET = 15.0  # seconds without a fact, after which a run has to prove itself
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Doubts:
    """What a run waits for and can't get: work that nobody does, timers that are gone, nothing at all."""

    lost: tuple[tuple[str, int], ...] = ()  # node, dispatch
    timers: tuple[str, ...] = ()
    nothing: bool = False

    def __bool__(self) -> bool:
        return bool(self.lost or self.timers or self.nothing)


def doubts_about(run: QuietRun, timers: set[str], works: Callable[[str, str], bool]) -> Doubts:
    """What of a run's reasons to wait does not hold. Pure but for ``works(run_id, node)``."""
    lost: list[tuple[str, int]] = []
    missing: list[str] = []
    for node, entry in run.active.items():
        if "stuck" in entry:
            continue  # listed, with its reason: somebody has to retry or cancel it
        waits_by_clock = "retry_at" in entry or "due" in entry
        if waits_by_clock and node not in timers:
            missing.append(node)
        elif not waits_by_clock and entry.get("here") and not works(run.id, node):
            lost.append((node, entry["dispatch"]))
    nothing = not run.active and not run.paused and not run.held
    return Doubts(tuple(lost), tuple(missing), nothing)


class Reconciler:
    """One for each owned partition. A doubt becomes a happening, decided like any other."""

    def __init__(
        self,
        journal: Journal,
        partition: int,
        *,
        clock: Callable[[], float],
        works: Callable[[str, str], bool],
        happened: Callable[[str, Happening], None],
        every: float = EVERY,
        quiet: float = QUIET,
    ) -> None:
        self._journal = journal
        self._partition = partition
        self._clock = clock
        self._works = works
        self._happened = happened
        self._every = every
        self._quiet = quiet
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        after = ""
        while True:
            await asyncio.sleep(self._every)
            try:
                after = await self.look(after)
            except StoreError as error:
                log.warning("not_reconciled", partition=self._partition, error=str(error))
            except Exception:  # one odd row must not end the proof for all others: begin anew
                log.exception("not_reconciled", partition=self._partition)
                after = ""

    async def look(self, after: str = "") -> str:
        """Look at one page behind a run's id; the id to go on from, empty at the end."""
        before = self._clock() - self._quiet
        page = await self._journal.quiet(self._partition, after=after, before=before, most=_PAGE)
        timers = await self._journal.timers_of([run.id for run in page])
        for run in page:
            doubts = doubts_about(run, timers.get(run.id, set()), self._works)
            if doubts:
                log.error("run_reconciled", run=run.id, partition=self._partition, **_shown(doubts))
                self._happened(run.id, Reconciled(doubts.lost, doubts.timers, doubts.nothing))
        return page[-1].id if len(page) == _PAGE else ""


def _shown(doubts: Doubts) -> Mapping[str, Any]:
    return {"lost": [node for node, _ in doubts.lost], "timers": doubts.timers, "nothing": doubts.nothing}
