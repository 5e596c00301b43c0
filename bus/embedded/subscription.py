"""A consumer of one queue of the embedded bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from bus.embedded.ledger import Ledger
from bus.embedded.line import Line
from bus.embedded.record import Record
from bus.port import Delivery, Message

__all__ = ["EmbeddedSubscription", "Keeper"]

_log = logging.getLogger(__name__)

_PAUSE = 0.2  # seconds until what the database could not give is asked for again


class Keeper(Protocol):
    """What a subscription needs of its bus."""

    ledger: Ledger

    def forget(self, records: Sequence[Record]) -> None:
        """These are done."""
        ...

    def bury(self, deliveries: Sequence[Delivery]) -> None:
        """Move these to the dead queue."""
        ...

    def left(self, subscription: EmbeddedSubscription) -> None:
        """A subscription is closed."""
        ...

    async def fetch(self, records: Sequence[Record]) -> dict[int, Message]:
        """The messages of records that are not in memory, by ``seq``."""
        ...


class EmbeddedSubscription:
    """Takes from the line when it wants more, and never holds more than ``prefetch`` unsettled."""

    def __init__(self, bus: Keeper, line: Line, prefetch: int) -> None:
        self._bus = bus
        self._line = line
        self._prefetch = prefetch
        self._held: dict[int, tuple[Record, Delivery | None]] = {}
        self._woken = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._held)

    def wake(self) -> None:
        """Have a look: there may be something to take."""
        self._woken.set()

    async def receive(self, most: int) -> list[Delivery]:
        """See ``bus.port.Subscription``. Raises ValueError when ``most`` is below one."""
        if most < 1:
            raise ValueError(f"most must be at least 1, not {most}")
        try:
            while not self._closed:
                self._woken.clear()
                room = min(most, self._prefetch - len(self._held))
                records = self._line.take(self, room) if room > 0 else []
                if not records:
                    self._line.wait(self)
                    await self._woken.wait()
                    continue
                try:
                    return await self._hand_out(records)
                except Exception as error:  # whatever a database raises while its disk is full, or gone
                    _log.warning("queue %s can't be read now: %s; trying again", self._line.name, error)
                    await asyncio.sleep(_PAUSE)
            return []
        finally:
            self._line.wait_no_more(self)

    async def _hand_out(self, records: Sequence[Record]) -> list[Delivery]:
        inherited = False
        for record in records:
            self._held[record.seq] = (record, None)
            record.handed += 1
            inherited = inherited or record.inherited
            self._bus.ledger.count(record.seq, record.handed)
        try:
            # What an earlier process left may be what killed it: it is counted before it is handed out.
            if inherited:
                await self._bus.ledger.settled()
            found = await self._bus.fetch([record for record in records if record.message is None])
        except BaseException:
            unseen = [record for record in records if record.seq in self._held]
            for record in unseen:
                record.handed -= 1
                self._bus.ledger.count(record.seq, record.handed)
            self._give_back(unseen)
            raise
        # close() may have given them back while we waited.
        return [self._deliver(record, found) for record in records if record.seq in self._held]

    def _deliver(self, record: Record, found: dict[int, Message]) -> Delivery:
        message = record.message if record.message is not None else found[record.seq]
        delivery = Delivery(
            message, record.queue, record.exchange, record.routing_key, record.handed - 1, record
        )
        self._held[record.seq] = (record, delivery)
        return delivery

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See ``bus.port.Subscription``. Durable with the next transaction; not waited for."""
        self._bus.forget(self._settle(deliveries))
        self.wake()

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """See ``bus.port.Subscription``."""
        self._line.put(self._settle(deliveries))
        self.wake()

    async def reject(self, deliveries: Sequence[Delivery]) -> None:
        """See ``bus.port.Subscription``. Leaves this queue and enters the dead one in one transaction."""
        settled = {record.seq for record in self._settle(deliveries)}
        self._bus.bury([delivery for delivery in deliveries if _seq(delivery) in settled])
        self.wake()

    async def close(self) -> None:
        """See ``bus.port.Subscription``."""
        if self._closed:
            return
        self._closed = True
        self._bus.left(self)
        self._line.leave(self)
        self._give_back([record for record, _ in self._held.values()])
        self.wake()

    def _give_back(self, records: Sequence[Record]) -> None:
        for record in records:
            del self._held[record.seq]
        self._line.put(records)

    def _settle(self, deliveries: Sequence[Delivery]) -> list[Record]:
        """The records of those that this subscription still holds; others are not ours to settle."""
        settled = []
        for delivery in deliveries:
            record, current = self._held.get(_seq(delivery), (None, None))
            if record is not None and current is delivery:
                del self._held[record.seq]
                settled.append(record)
        return settled


def _seq(delivery: Delivery) -> int:
    if not isinstance(delivery.token, Record):
        raise TypeError("this delivery came from another bus")
    return delivery.token.seq
