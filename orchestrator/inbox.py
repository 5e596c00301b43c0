"""What waits for a partition's next batch: deliveries from the bus, and what happened in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from bus.envelope import event_of
from bus.port import Delivery
from contracts.errors import ContractError, ForgedMessage, MalformedMessage
from contracts.record import record
from orchestrator import wire
from orchestrator.happenings import Happening
from store.quarantine import quarantined

__all__ = ["Arrival", "Inbox", "refusal"]

_FLUSH = 0.5  # seconds until confirmed outbox rows are deleted when nothing else is committed


@record
class Arrival:
    """One thing that came: a delivery, or a happening of this process."""

    run_id: str = ""
    happening: Happening | None = None
    delivery: Delivery | None = None

    def read(self, partition: int, now: float) -> tuple[str, Happening] | dict[str, Any]:
        """Which run, and what happened; or the quarantine's row when that can't be told."""
        if self.happening is not None:
            return self.run_id, self.happening
        delivery = self.delivery
        if delivery is None:
            raise MalformedMessage("an arrival is a delivery or a happening")
        event = None
        try:
            if delivery.refusal is not None:
                raise delivery.refusal
            event = event_of(delivery.message)
            return wire.read(event, partition)
        except ContractError as error:
            return refusal(delivery, error, now, workspace=event.workspace if event else "")


def refusal(delivery: Delivery, error: ContractError, now: float, *, workspace: str) -> dict[str, Any]:
    """The row of ``quarantine`` of what a partition does not take."""
    message = delivery.message
    return quarantined(
        queue=delivery.queue,
        reason=error.code if isinstance(error, ForgedMessage) else "malformed",
        detail=str(error),
        workspace=workspace,
        message_id=message.id,
        content_type=message.content_type,
        headers=message.headers,
        body=message.body,
        at=now,
    )


class Inbox:
    """Gathers for one partition; a batch is whatever is there when the last commit is done."""

    def __init__(self) -> None:
        self._arrivals: deque[Arrival] = deque()
        self._published: list[int] = []
        self._flush: asyncio.TimerHandle | None = None
        self._overdue = False  # whether what was published has waited long enough
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    def happened(self, run_id: str, happening: Happening) -> None:
        """Something of this process."""
        self._arrivals.append(Arrival(run_id, happening))
        self._wake.set()

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """Messages from the partition's queue."""
        self._arrivals.extend(Arrival(delivery=delivery) for delivery in deliveries)
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
