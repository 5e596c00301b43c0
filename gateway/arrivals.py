"""Bodies on their way: whoever sends slowly waits for themselves only, and not for ever."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from gateway.problems import Problem

__all__ = ["Arrival", "Arrivals"]

_SILENCE = 5.0  # s without a byte after which a body is given up
_LONGEST = 30.0  # s for a whole body, and more for one that is large:
_SLOWEST = 65_536  # bytes that must come in each second beyond that
_MOST = 4_000  # bodies on their way at once; each holds a connection and a task


class Arrivals:
    """The bodies that are on their way now, in the order in which they began.

    When there are too many, the oldest is given up for the newest: those who send at once are never the
    oldest, so however many stand still, they close the door to nobody.
    """

    def __init__(self) -> None:
        self._open: dict[Arrival, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, arrival: Arrival) -> None:
        """One that is waited for; again is harmless."""
        if arrival not in self._open and len(self._open) >= _MOST:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.give_up()
        self._open[arrival] = None

    def leave(self, arrival: Arrival) -> None:
        """It is there, or nobody waits for it any more."""
        self._open.pop(arrival, None)


class Arrival:
    """One body on its way. ``done`` is whether all of it has come; ``size`` is what has come of it."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.size = 0
        self.done = False
        self._arrivals = arrivals
        self._began: float | None = None
        self._given_up = False
        self._timeout: asyncio.Timeout | None = None

    async def next(self, receive: Receive) -> Message:
        """The next message. Raises Problem (408) when it does not come in time."""
        if self._given_up:
            raise _too_slow()
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now
        until = min(now + _SILENCE, self._began + _LONGEST + self.size / _SLOWEST)
        self._arrivals.enter(self)
        try:
            async with asyncio.timeout_at(until) as self._timeout:
                message = await receive()
        except TimeoutError as error:
            raise _too_slow() from error
        finally:
            self._timeout = None
        self.size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.done = True
            self._arrivals.leave(self)
        return message

    def give_up(self) -> None:
        """Wait for it no longer."""
        self._given_up = True
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(0.0)

    def close(self) -> None:
        """The request is over, whatever had come of it."""
        self._arrivals.leave(self)


def _too_slow() -> Problem:
    # What may follow of the body is not read, so the connection can't be used again.
    return Problem(
        "request-timeout",
        "The body did not come in time. Nothing of this request was kept.",
        headers={"Connection": "close"},
    )
