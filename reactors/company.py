"""Waiting for company: what nobody waits for may be written together with what comes soon."""

from __future__ import annotations

import asyncio

__all__ = ["Company"]


class Company:
    """Those who wait go on together: when there are ``most`` of them, or ``seconds`` after the first came."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._waiting = 0
        self._together: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self) -> None:
        """Return when it is time; at once for the last one that there is room for."""
        self._waiting += 1
        if self._waiting >= self._most:
            self._go()
            return
        if self._together is None:
            loop = asyncio.get_running_loop()
            self._together = loop.create_future()
            self._timer = loop.call_later(self._seconds, self._go)
        # Shielded: who is cancelled does not cancel the others' wait.
        await asyncio.shield(self._together)

    def _go(self) -> None:
        together, self._together, self._waiting = self._together, None, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if together is not None:
            together.set_result(None)
