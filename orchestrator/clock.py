"""The store's clock, as this process can read it without asking.

Deadlines and leases that several machines look at are the store's time. Each renewal of the leases
brings a reading; in between it goes on by the monotonic clock, so that a jump of the machine's own
clock moves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["StoreClock"]

# How fast two clocks may drift apart: quartz is ten times better than this.
_DRIFT = 0.0005
_NEVER_READ = float("inf")


class StoreClock:
    """Callable: seconds since the epoch. Never goes back, but at the first reading: before it, it is a guess.

    A reading is as exact as half of the time that it took: the one that is kept is the most exact, and
    it becomes less so with age (Cristian's algorithm, 1989).
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self.steady = steady  # seconds that only go on, for what this process measures alone
        self._offset = wall() - steady()
        self._error = _NEVER_READ
        self._read_at = steady()
        self._latest = 0.0

    def __call__(self) -> float:
        now = self.steady() + self._offset
        if self._error == _NEVER_READ:
            return now  # by the machine's own clock, which may be ahead: time would stand still until then
        self._latest = max(self._latest, now)
        return self._latest

    def set(self, reading: float, *, asked: float, answered: float) -> None:
        """Take a reading of the store's clock; ``asked`` and ``answered`` are steady seconds around it.

        One that is less exact than what is known already is left.
        """
        error = (answered - asked) / 2
        aged = self._error + (answered - self._read_at) * _DRIFT
        if error <= aged:
            self._offset = reading - (asked + answered) / 2
            self._error = error
            self._read_at = answered
