"""What waits for its time: one heap and one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from bus.embedded.record import Record

__all__ = ["Delays"]

_LONGEST_SLEEP = 30.0  # seconds; so that a step of the wall clock is noticed


class Delays:
    """Hands each record to ``due`` once the clock has reached its ``available_at``, never earlier."""

    def __init__(self, clock: Callable[[], float], due: Callable[[Record], None]) -> None:
        self._clock = clock
        self._due = due
        self._heap: list[tuple[float, int, Record]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, records: Iterable[Record]) -> None:
        """These wait."""
        for record in records:
            heappush(self._heap, (record.available_at, record.seq, record))
        self._set()

    def drop(self, queue: str) -> list[Record]:
        """Take out what waits for one queue."""
        dropped = [record for _, _, record in self._heap if record.queue == queue]
        self._heap = [entry for entry in self._heap if entry[2].queue != queue]
        heapify(self._heap)
        return dropped

    def stop(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self.stop()
        if self._heap:
            wait = min(max(self._heap[0][0] - self._clock(), 0.0), _LONGEST_SLEEP)
            self._timer = asyncio.get_running_loop().call_later(wait, self._fire)

    def _fire(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            self._due(heappop(self._heap)[2])
        self._set()
