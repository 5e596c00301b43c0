"""The store's clock, as this process can read it without asking.

Deadlines and leases that several machines look at are the store's time. Each renewal of the leases
brings a reading; in between it goes on by the monotonic clock, so that a jump of the machine's own
clock moves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["StoreClock"]


class StoreClock:
    """Callable: seconds since the epoch. Never goes back."""

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._steady = steady
        self._offset = wall() - steady()
        self._latest = 0.0

    def __call__(self) -> float:
        self._latest = max(self._latest, self._steady() + self._offset)
        return self._latest

    def set(self, reading: float, *, asked: float, answered: float) -> None:
        """Take a reading of the store's clock; ``asked`` and ``answered`` are steady seconds around it."""
        self._offset = reading - (asked + answered) / 2
