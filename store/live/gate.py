"""Fails at once while a server is known to be gone, instead of waiting for it at each call."""

from __future__ import annotations

from collections.abc import Callable

from contracts.errors import LiveUnavailable

__all__ = ["Gate"]

FIRST_PAUSE = 0.25  # s
LONGEST_PAUSE = 2.0  # s


class Gate:
    """After a failure, one call goes through at the end of each pause; the first that succeeds opens it.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0
        self._reason = ""

    def enter(self) -> None:
        """Raises LiveUnavailable during a pause."""
        if not self._pause:
            return
        left = self._until - self._clock()
        if left > 0:
            raise LiveUnavailable(f"{self._reason} (tried again in {left:.1f} s)")
        self._until = self._clock() + self._pause  # one call tries, the others go on failing fast

    def succeeded(self) -> None:
        self._pause = 0.0

    def failed(self, reason: str) -> None:
        self._pause = min(max(FIRST_PAUSE, self._pause * 2), LONGEST_PAUSE)
        self._until = self._clock() + self._pause
        self._reason = reason
