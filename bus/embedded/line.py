"""One queue in memory: who is next, who may take it, and what is in whose hands."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Protocol

from bus.embedded.record import Record

__all__ = ["Line", "Taker"]


class Taker(Protocol):
    """Who takes from a line. Its length is how many it holds unsettled."""

    def __len__(self) -> int: ...

    def __hash__(self) -> int: ...

    def wake(self) -> None:
        """Have a look: there may be something to take."""
        ...


class Line:
    """The records of one queue that are ready, lowest ``seq`` first: that is the order of confirmation.

    What is given back has a lower ``seq`` than all that was not handed out yet, so it is at the front again.
    """

    def __init__(self, name: str, *, single_active: bool) -> None:
        self.name = name
        self.single_active = single_active
        self.subscriptions: list[Taker] = []
        self._ready: list[tuple[int, Record]] = []
        self._waiting: dict[Taker, None] = {}

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def oldest(self) -> float | None:
        """When the first in line became available, in seconds since the epoch."""
        return self._ready[0][1].available_at if self._ready else None

    @property
    def unsettled(self) -> int:
        """How many are in somebody's hands."""
        return sum(len(subscription) for subscription in self.subscriptions)

    def put(self, records: Iterable[Record]) -> None:
        """These are ready (again)."""
        for record in records:
            heappush(self._ready, (record.seq, record))
        self.wake()

    def take(self, taker: Taker, most: int) -> list[Record]:
        """The next ones for this subscription: its fair share among those that wait."""
        if not self._ready or (self.single_active and taker is not self.subscriptions[0]):
            return []
        waiting = 1 if self.single_active else len(self._waiting.keys() | {taker})
        share = min(most, -(-len(self._ready) // waiting))
        return [heappop(self._ready)[1] for _ in range(share)]

    def empty(self) -> list[Record]:
        """Take out all that is ready."""
        taken, self._ready = [record for _, record in self._ready], []
        return taken

    def join(self, subscription: Taker) -> None:
        """A subscription starts; with ``single_active`` it waits until it is the first."""
        self.subscriptions.append(subscription)

    def leave(self, subscription: Taker) -> None:
        """A subscription ends; the next one takes over."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
        self.wait_no_more(subscription)

    def wait(self, subscription: Taker) -> None:
        """This subscription waits to be woken."""
        self._waiting[subscription] = None

    def wait_no_more(self, subscription: Taker) -> None:
        """It got its share, or gave up: what is left is for the others."""
        self._waiting.pop(subscription, None)
        self.wake()

    def wake(self) -> None:
        """Tell those that wait to have a look."""
        if self._ready:
            for subscription in self._waiting:
                subscription.wake()
