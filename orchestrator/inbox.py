"""What waits for a partition's next batch: deliveries from the bus, and what happened in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from bus.envelope import event_of
from bus.port import Delivery
from contracts.errors import ContractError
from contracts.record import record
from orchestrator import wire
from orchestrator.happenings import Happening, StartRequested
from orchestrator.refusal import refusal

__all__ = ["Arrival", "Inbox", "arrivals_of"]

_FLUSH = 0.5  # seconds until confirmed outbox rows are deleted when nothing else is committed


@record
class Arrival:
    """One thing that came: a happening, of this process or out of a delivery.

    ``delivery``: what it came in, None for a happening of this process. ``shared``: others came in it too.
    ``last``: none of them comes after this one, so that it can be acked once this is settled. ``unread``: why
    it can't be read.
    """

    run_id: str = ""
    happening: Happening | None = None
    delivery: Delivery | None = None
    shared: bool = False
    last: bool = True
    unread: Exception | None = None
    workspace: str = ""

    def refused(self, now: float) -> dict[str, Any]:
        """The quarantine's row of what could not be read. Raises what is no fault of the message."""
        if self.delivery is None or not isinstance(self.unread, ContractError):
            raise self.unread or ValueError("an arrival with neither a happening nor a reason")
        return refusal(self.delivery, self.unread, now, workspace=self.workspace)

    def by_itself(self, now: float) -> Delivery | None:
        """What it came in, as if nothing else had come in it: what becomes of one start is no other's."""
        if self.delivery is not None and self.shared and isinstance(self.happening, StartRequested):
            return replace(self.delivery, message=wire.start(self.happening, now).message)
        return self.delivery


def arrivals_of(delivery: Delivery, partition: int) -> list[Arrival]:
    """What came in a delivery, each for itself: several where starts share a message. Never none."""
    event = None
    try:
        if delivery.refusal is not None:
            raise delivery.refusal
        event = event_of(delivery.message)
        happened = wire.read(event, partition)
    except Exception as error:  # which ``refused`` raises again, where one bad message is told from the rest
        return [Arrival(delivery=delivery, unread=error, workspace=event.workspace if event else "")]
    end = len(happened) - 1
    return [
        Arrival(run_id, happening, delivery, shared=end > 0, last=index == end)
        for index, (run_id, happening) in enumerate(happened)
    ]


class Inbox:
    """Gathers for one partition; a batch is whatever is there when the last commit is done."""

    def __init__(self) -> None:
        self._arrivals: deque[Arrival] = deque()
        self._published: list[int] = []
        self._flush: asyncio.TimerHandle | None = None
        self._overdue = False  # whether what was published has waited long enough
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._taken = asyncio.Event()

    def happened(self, run_id: str, happening: Happening) -> None:
        """Something of this process."""
        self._arrivals.append(Arrival(run_id, happening))
        self._wake.set()

    async def deliver(
        self,
        deliveries: Sequence[Delivery],
        partition: int,
        *,
        most: int,
        room: Callable[[], Awaitable[None]],
    ) -> None:
        """Messages from the partition's queue, and what came in them.

        Starts that share messages are more than was asked for: beyond ``most``, they come in when a turn has
        taken what is here, and there is room.
        """
        for delivery in deliveries:
            for arrival in arrivals_of(delivery, partition):
                while len(self._arrivals) >= most:
                    self._taken.clear()
                    await self._taken.wait()
                    await room()
                self._arrivals.append(arrival)
                self._wake.set()

    def published(self, positions: Sequence[int]) -> None:
        """Outbox rows that can go with the next commit, or by themselves when there is none for a while."""
        self._published.extend(positions)
        if positions and self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(_FLUSH, self._let_go)

    def again(self, arrivals: Sequence[Arrival], published: Sequence[int]) -> None:
        """Put back what could not be committed, in its order."""
        self._arrivals.extendleft(reversed(arrivals))
        self.published(published)
        self._wake.set()

    def _let_go(self) -> None:
        self._flush = None
        if self._published:
            self._overdue = True
            self._wake.set()

    async def ready(self) -> None:
        """Return once there is a batch: at least one arrival, or positions that have waited long enough."""
        while not (self._arrivals or self._overdue):
            self._wake.clear()
            self._idle.set()
            await self._wake.wait()
        self._idle.clear()

    def take(self, most: int) -> tuple[list[Arrival], list[int]]:
        """The next batch, once it is ready."""
        batch = [self._arrivals.popleft() for _ in range(min(most, len(self._arrivals)))]
        self._taken.set()
        published, self._published = self._published, []
        self._overdue = False
        return batch, published

    async def idle(self, done: Callable[[], bool], limit: float) -> None:
        """Return once nothing waits here and ``done()``, or after ``limit`` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        # Asked again and again, because what is done depends on more than this inbox.
        while (self._arrivals or not self._idle.is_set() or not done()) and loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(min(0.05, limit))
