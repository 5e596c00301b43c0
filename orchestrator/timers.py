"""A partition's timers: durable in the store, and in memory only when they are due soon."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

import structlog

from contracts.crash import reached
from contracts.errors import StoreError
from orchestrator.journal import FIRST_TIMER, Journal, TimerKey

__all__ = ["Timers"]

log = structlog.get_logger(__name__)

_HORIZON = 10.0
_RELOAD = 5.0
_PAGE = 10_000
_NEXT_ROUND = 60.0  # seconds; whatever is overdue for longer than a moment was fired, and not cleared


class Timers:
    """Fires ``fire(run_id, name)`` when a timer is due.

    One may fire twice (it was moved, or loaded again) or after it was cleared: the run's state says
    whether it matters. It fires again and again, each time it is loaded, until a commit clears it, so
    that a timer whose batch failed is not lost.

    Two pages are read each time: of what comes due, from where the last such page ended, and of what is
    overdue. Any number can be that for good (of a version that is not here, say); they hide nothing that
    comes due, and the round through them begins again only some time after its end.
    """

    def __init__(
        self,
        journal: Journal,
        partition: int,
        *,
        clock: Callable[[], float],
        fire: Callable[[str, str], None],
    ) -> None:
        self._journal = journal
        self._partition = partition
        self._clock = clock
        self._fire = fire
        self._heap: list[tuple[float, str, str]] = []
        self._known: set[tuple[str, str, float]] = set()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to load and to fire."""
        self._tasks = [asyncio.create_task(self._load()), asyncio.create_task(self._run())]

    def add(self, run_id: str, name: str, due_at: float) -> None:
        """A timer was committed just now; what is due late is left to the store."""
        if due_at > self._clock() + _HORIZON or (run_id, name, due_at) in self._known:
            return
        self._known.add((run_id, name, due_at))
        heapq.heappush(self._heap, (due_at, run_id, name))
        if self._heap[0][0] == due_at:
            self._wake.set()

    async def stop(self) -> None:
        """Fire nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _load(self) -> None:
        began = self._clock()
        coming: TimerKey = (began, "", "")
        overdue, round_at = FIRST_TIMER, began
        while True:
            try:
                now = self._clock()
                coming, _ = await self._page(coming, now + _HORIZON)
                if now >= round_at:
                    overdue, more = await self._page(overdue, now)
                    if not more:
                        overdue, round_at = FIRST_TIMER, now + _NEXT_ROUND
            except StoreError as error:
                log.warning("timers_not_loaded", partition=self._partition, error=str(error))
            except Exception:  # the loop must go on, or no timer of the partition would be due any more
                log.exception("timers_failed", partition=self._partition)
            await asyncio.sleep(_RELOAD)

    async def _page(self, after: TimerKey, until: float) -> tuple[TimerKey, bool]:
        """Load what is due by then from behind ``after``. The last of it, and whether there may be more."""
        due = await self._journal.timers(self._partition, until, after, _PAGE)
        for due_at, run_id, name in due:
            self.add(run_id, name, due_at)
        return (due[-1] if due else after), len(due) == _PAGE

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause = self._heap[0][0] - self._clock() if self._heap else None
            if pause is None or pause > 0:
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    pass  # the first timer is due
                continue
            due_at, run_id, name = heapq.heappop(self._heap)
            self._known.discard((run_id, name, due_at))
            reached("orchestrator.timers.fire.before")
            self._fire(run_id, name)
            reached("orchestrator.timers.fire.after")
