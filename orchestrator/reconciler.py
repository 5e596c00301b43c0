"""Proves, all the time, that every run that has not ended has a reason to wait that can still happen.

Nothing here should ever find anything: what it repairs was lost by a bug, or by a hand in the database.
It looks only at runs that nothing has happened to for a while, a page at a time, and at columns, so
that a hundred thousand waiting runs cost a few queries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from contracts.errors import StoreError
from orchestrator.doubts import Doubt, QuietRun, doubts_about, repair_of
from orchestrator.facts import Fact
from orchestrator.happenings import Happening
from orchestrator.proofs import Findings, Place, Proofs

__all__ = ["Reconciler"]

log = structlog.get_logger(__name__)

EVERY = 10.0  # seconds between pages
QUIET = 15.0  # seconds without a fact, after which a run has to prove itself
_PAGE = 500
_MOST_LISTED = 50
_TOLD_ANEW = 60.0  # seconds until findings that did not change are written again
_PATIENCE = 30.0  # seconds until one repair is tried a second time; twice as long each time after that
_MOST_PATIENCE = 3600.0


class Reconciler:
    """One for each owned partition. A doubt becomes a happening, decided like any other.

    ``works(run_id, node)``: whether a step is in hand here. ``knows(flow, version)``: whether the code is.
    """

    def __init__(
        self,
        proofs: Proofs,
        partition: int,
        epoch: int,
        *,
        clock: Callable[[], float],
        works: Callable[[str, str], bool],
        knows: Callable[[str, int], bool],
        happened: Callable[[str, Happening], None],
        every: float = EVERY,
        quiet: float = QUIET,
    ) -> None:
        self._proofs = proofs
        self._partition = partition
        self._epoch = epoch
        self._clock = clock
        self._works = works
        self._knows = knows
        self._happened = happened
        self._every = every
        self._quiet = quiet
        self._task: asyncio.Task[None] | None = None
        self._findings = Findings()
        self._repaired: dict[str, int] = {}
        self._kept: tuple[Findings | None, float] = (None, 0.0)
        # When what was tried may be tried again: a repair that does not help must not fill a history.
        self._tried: dict[tuple[str, Doubt], tuple[int, float]] = {}
        self._seen: set[tuple[str, Doubt]] = set()

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def repaired(self, repairs: Iterable[tuple[str, Fact]]) -> None:
        """These facts, each of a run, are committed."""
        for run_id, fact in repairs:
            reason = fact.data["reason"]
            self._repaired[reason] = self._repaired.get(reason, 0) + 1
            log.error(
                "run_repaired",
                run=run_id,
                partition=self._partition,
                node=fact.node,
                reason=reason,
                at=fact.at,
            )

    async def _run(self) -> None:
        after: Place | None = None
        began = False
        while True:
            await asyncio.sleep(self._every)
            try:
                if not began:
                    self._repaired = await self._proofs.repaired(self._partition) | self._repaired
                    began = True
                after = await self.look(after)
            except StoreError as error:
                log.warning("not_reconciled", partition=self._partition, error=str(error))
            except Exception:  # whatever it is, it must not end the proof: begin anew
                log.exception("not_reconciled", partition=self._partition)
                after = None

    async def look(self, after: Place | None = None) -> Place | None:
        """Look at one page; the place to go on from, None at the end. Raises StoreError."""
        now = self._clock()
        before = now - self._quiet
        if after is None:
            self._findings, self._seen = Findings(), set()
        page, behind = await self._proofs.page(self._partition, after=after, before=before, most=_PAGE)
        for run in page:
            self._prove(run, before, now)
        if behind is not None:
            return behind
        self._tried = {key: tried for key, tried in self._tried.items() if key in self._seen}
        try:
            await self._tell(now)
        except StoreError as error:  # this page would be counted again; the next round has its own findings
            log.warning("findings_not_kept", partition=self._partition, error=str(error))
        return None

    def _prove(self, run: QuietRun, before: float, now: float) -> None:
        try:
            doubts = doubts_about(run, self._works, self._knows, before=before)
        except Exception:  # an entry as nobody writes it: it costs this run its proof, and no other
            log.exception("run_unreadable", run=run.id, partition=self._partition)
            doubts = [Doubt("unreadable")]
        findings = self._findings
        if not doubts:
            findings.proved += not any("stuck" in entry for entry in run.active.values())
            return
        findings.unproven += 1
        if len(findings.listed) < _MOST_LISTED:
            findings.listed.append(
                {
                    "run_id": run.id,
                    "workspace": run.workspace,
                    "flow": run.flow,
                    "version": run.version,
                    "key": run.key,
                    "since": run.since,
                    "code": doubts[0].reason,
                    "reason": "; ".join(map(str, doubts)) + (f": {run.odd}" if run.odd else ""),
                }
            )
        repair = repair_of([doubt for doubt in doubts if self._may_try((run.id, doubt), now)])
        if repair is not None:
            self._happened(run.id, repair)

    def _may_try(self, key: tuple[str, Doubt], now: float) -> bool:
        self._seen.add(key)
        tries, again_at = self._tried.get(key, (0, 0.0))
        if now < again_at:
            return False
        self._tried[key] = (tries + 1, now + min(_PATIENCE * 2.0**tries, _MOST_PATIENCE))
        return True

    async def _tell(self, now: float) -> None:
        self._findings.repaired = dict(self._repaired)
        kept, at = self._kept
        if kept == self._findings and now < at + _TOLD_ANEW:
            return
        await self._proofs.keep(self._partition, self._epoch, self._findings, now)
        self._kept = (self._findings, now)
