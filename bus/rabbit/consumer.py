"""A consumer of one queue that stays one, over lost connections, channels and the broker's own cancel."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from bus.dead import dead_copy
from bus.port import Delivery, Outgoing
from bus.rabbit.arrivals import Arrival
from bus.rabbit.connection import LOST, Link, heard
from bus.rabbit.names import plain_exchange
from bus.rabbit.session import Session, Token
from bus.rabbit.topology import Topology
from bus.rabbit.wire import deliveries_of, message_from, was_delayed
from contracts.errors import BusError, ConfigurationError, NotPermitted, PublishFailed, Unroutable

__all__ = ["RabbitSubscription"]

_log = logging.getLogger(__name__)

# What may pass while a queue is to be consumed again.
_PASSING: tuple[type[Exception], ...] = (BusError, *LOST)
_OPEN_TIMEOUT = 10.0  # seconds; the broker answers late while a queue has no leader
_PAUSE = 0.2  # seconds between attempts to consume a queue that is not there


class RabbitSubscription:
    """Consumes on a channel of its own; a new one when that is gone.

    Tags die with their channel, so each delivery remembers its session, and settling one of an earlier
    session does nothing: the broker has given it back already. ``publish`` sends to the dead queue and
    raises PublishFailed.
    """

    def __init__(
        self,
        link: Link,
        topology: Topology,
        queue: str,
        *,
        prefetch: int,
        publish: Callable[[Outgoing], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._topology = topology
        self._queue = queue
        self._prefetch = prefetch
        self._publish = publish
        self._clock = clock
        self._buffer: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._session: Session | None = None
        self._closed = False
        self._keeper: asyncio.Task[None] | None = None
        self._last_published: float | None = None

    @property
    def oldest_possible(self) -> float | None:
        """When the message that came last was published, in seconds since the epoch.

        What still waits in the queue was published later, so it is at most that old.
        """
        return self._last_published

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return self._queue

    async def start(self) -> None:
        """Begin to consume, and keep it so. Raises ConfigurationError when there is no such queue."""
        session = await self._open()
        self._keeper = asyncio.create_task(self._keep(session), name=f"antiphon consumer {self._queue}")

    async def receive(self, most: int) -> list[Delivery]:
        """See ``bus.port.Subscription``. Raises ValueError when ``most`` is below one."""
        if most < 1:
            raise ValueError(f"most must be at least 1, not {most}")
        while not self._closed:
            if self._buffer:
                return [self._buffer.popleft() for _ in range(min(most, len(self._buffer)))]
            self._arrived.clear()
            await self._arrived.wait()
        return []

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See ``bus.port.Subscription``. Sent with whatever else is acked in this moment; not waited for."""
        self._ack(self._own(deliveries))

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """See ``bus.port.Subscription``.

        Handed out again from here, in its place before what was prefetched, and counted here. RabbitMQ
        would put it at the end of a quorum queue that has no delivery limit, and behind what was prefetched
        in any case. It stays unacked, so if this process dies, the broker gives it to another.
        """
        self._again(self._own(deliveries))

    async def reject(self, deliveries: Sequence[Delivery]) -> None:
        """See ``bus.port.Subscription``.

        Confirmed in the dead queue first, acked here then: a crash in between leaves it twice, never lost.
        Not dead-lettered by the broker: that needs an argument, which could never be changed again, or a
        policy, which is the operator's; and the broker could not add why and whence. When the dead queue
        can't be had, the message is given back, to be refused again.
        """
        mine = self._own(deliveries)
        outcomes = await asyncio.gather(*(self._bury(delivery) for delivery in mine))
        self._ack([delivery for delivery, buried in zip(mine, outcomes, strict=True) if buried])
        self._again([delivery for delivery, buried in zip(mine, outcomes, strict=True) if not buried])

    async def close(self) -> None:
        """See ``bus.port.Subscription``."""
        if self._closed:
            return
        self._closed = True
        self._buffer.clear()
        self._arrived.set()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._session is not None:
            await self._session.close()

    def _own(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those that are still ours to settle; they are taken, so that nobody settles them twice."""
        return [d for d in deliveries if self._is_current(d) and _token(d).take()]

    def _is_current(self, delivery: Delivery) -> bool:
        return _token(delivery).session is self._session and not self._closed

    def _ack(self, deliveries: Sequence[Delivery]) -> None:
        if self._session is not None:
            self._session.ack([_token(delivery).tag for delivery in deliveries if self._is_current(delivery)])

    def _again(self, deliveries: Sequence[Delivery]) -> None:
        again = [
            replace(delivery, deliveries=delivery.deliveries + 1, token=_token(delivery).next())
            for delivery in deliveries
            if self._is_current(delivery)
        ]
        self._buffer = deque(sorted((*self._buffer, *again), key=lambda delivery: _token(delivery).tag))
        self._arrived.set()

    async def _bury(self, delivery: Delivery) -> bool:
        copy = dead_copy(delivery)
        try:
            try:
                await self._publish(copy)
            except PublishFailed as failed:
                if not isinstance(failed.errors[0], Unroutable):
                    raise
                await self._topology.declare_again(copy.routing_key)
                await self._publish(copy)
        except (BusError, ConfigurationError) as error:
            _log.error("message %r could not be moved to %s: %s", copy.message.id, copy.routing_key, error)
            return False
        return True

    def _arrive(self, session: Session, came: Arrival) -> None:
        if session is not self._session or self._closed:
            return
        if not was_delayed(came):
            self._last_published = came.published_at
        self._buffer.append(
            Delivery(
                message=message_from(came),
                queue=self._queue,
                exchange=plain_exchange(came.exchange),
                routing_key=came.routing_key,
                deliveries=deliveries_of(came),
                token=Token(session, came.tag),
                user=came.user_id or None,
            )
        )
        self._arrived.set()

    async def _open(self) -> Session:
        """Consume in a new session. Raises ConfigurationError, BusUnavailable."""
        with suppress(
            NotPermitted
        ):  # some brokers let nobody look who may not also make; consuming will tell
            await self._topology.count(self._queue)
        session = Session(await self._link.connection(), self._queue, self._prefetch, self._arrive)
        self._buffer.clear()
        self._session = session
        try:
            async with heard(), asyncio.timeout(_OPEN_TIMEOUT):
                await session.open()
        except BaseException:
            await session.close()
            raise
        return session

    async def _keep(self, session: Session) -> None:
        while True:
            await session.ended()
            self._buffer.clear()
            self._topology.forget(self._queue)
            await session.close()
            session = await self._reopen()

    async def _reopen(self) -> Session:
        while True:
            try:
                await self._link.connection()
                await self._topology.declare_again(self._queue)
                return await self._open()
            except _PASSING as error:
                _log.warning("queue %s can't be consumed now: %s; trying again", self._queue, error)
            except ConfigurationError as error:
                _log.error("queue %s can't be consumed: %s; trying again", self._queue, error)
            await asyncio.sleep(_PAUSE)


def _token(delivery: Delivery) -> Token:
    if not isinstance(delivery.token, Token):
        raise TypeError("this delivery came from another bus")
    return delivery.token
