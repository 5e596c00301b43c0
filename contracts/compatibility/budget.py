"""How long one comparison may take: steps and seconds, whichever ends first."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Budget", "OutOfBudget"]


class OutOfBudget(Exception):
    """Raised inside a comparison when its budget is used up; it never leaves ``compare``."""


class Budget:
    """Counts steps and looks at the clock now and then. ``seconds`` are of the monotonic clock."""

    def __init__(self, steps: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = steps
        self._clock = clock
        self._until = clock() + seconds

    def renew(self, steps: int, seconds: float) -> None:
        """Starts anew, with so much."""
        self._left = steps
        self._until = self._clock() + seconds

    def spend(self, steps: int = 1) -> None:
        """Counts. Raises OutOfBudget."""
        self._left -= steps
        if self._left < 0:
            raise OutOfBudget("it takes too many steps to decide")
        if self._left % 64 == 0 and self._clock() > self._until:
            raise OutOfBudget("it takes too long to decide")

    def check(self) -> None:
        """Looks at the clock. Raises OutOfBudget."""
        if self._clock() > self._until:
            raise OutOfBudget("it takes too long to decide")
