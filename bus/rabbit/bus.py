"""The bus on RabbitMQ."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiormq.exceptions import ChannelAccessRefused

from bus.port import Outgoing, Queue, QueueStats
from bus.rabbit.connection import LOST, Link
from bus.rabbit.consumer import RabbitSubscription
from bus.rabbit.publisher import Publisher
from bus.rabbit.topology import Topology
from bus.routing import check_outgoing, check_queue
from contracts.errors import BusUnavailable, ConfigurationError, NotPermitted, PublishFailed

__all__ = ["RabbitBus"]


class RabbitBus:
    """A ``bus.port.Bus`` on RabbitMQ 3.10 or later, with quorum queues only.

    Two connections: one publishes, one consumes and declares, so that a broker which stops taking
    publishes does not stop the acks that would relieve it. ``url`` is
    ``amqp://user:password@host:port/vhost``, or that of each node of a cluster with commas between; times
    are in seconds. ``name`` is shown in the broker's list of connections.

    ``user``: the one that ``url`` logs in as, on a broker where ``antiphon broker provision`` made it and all
    queues. It may make nothing, and reaches queues by an exchange of its own; what it publishes says so.
    """

    def __init__(
        self,
        url: str,
        *,
        publish_timeout: float = 10.0,
        connect_timeout: float = 10.0,
        heartbeat: int = 10,
        name: str = "antiphon",
        user: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._publish_timeout = publish_timeout
        self._clock = clock
        self._out = Link(url, f"{name} publish", connect_timeout=connect_timeout, heartbeat=heartbeat)
        self._in = Link(url, f"{name} consume", connect_timeout=connect_timeout, heartbeat=heartbeat)
        self._topology = Topology(self._in, timeout=connect_timeout, user=user)
        self._publisher = Publisher(self._out, self._topology, user=user, clock=clock)
        self._subscriptions: set[RabbitSubscription] = set()
        self._started = False

    async def start(self) -> None:
        """See ``bus.port.Bus``. Raises ConfigurationError when the login is refused."""
        if self._started:
            return
        try:
            # Both end before one's failure is raised, so that neither connects after it was closed.
            for failure in await asyncio.gather(self._out.start(), self._in.start(), return_exceptions=True):
                if failure is not None:
                    raise failure
            await self._topology.declare_exchanges()
        except BaseException:
            await asyncio.gather(self._out.close(), self._in.close())
            raise
        self._started = True

    async def close(self) -> None:
        """See ``bus.port.Bus``."""
        if not self._started:
            return
        self._started = False
        await asyncio.gather(*(subscription.close() for subscription in list(self._subscriptions)))
        await self._publisher.close(self._publish_timeout)
        await asyncio.gather(self._out.close(), self._in.close())

    async def declare(self, *queues: Queue) -> None:
        """See ``bus.port.Bus``. Raises BusUnavailable when the broker does not answer."""
        self._check_started()
        for queue in queues:
            check_queue(queue)
        for queue in queues:
            await self._topology.declare(queue)

    async def publish(self, *outgoing: Outgoing, timeout: float | None = None) -> None:
        """See ``bus.port.Bus``. Raises ConfigurationError for what no broker could carry."""
        for out in outgoing:
            check_outgoing(out)
        if not outgoing:
            return
        if not self._started:
            reason = "the bus is not started, or closed"
            raise PublishFailed({index: BusUnavailable(reason) for index in range(len(outgoing))})
        errors = await self._publisher.publish(
            outgoing, self._publish_timeout if timeout is None else timeout
        )
        if errors:
            raise PublishFailed(dict(sorted(errors.items())))

    async def subscribe(self, queue: str, *, prefetch: int) -> RabbitSubscription:
        """See ``bus.port.Bus``.

        Raises ConfigurationError when there is no such queue, NotPermitted when it is somebody else's,
        BusUnavailable.
        """
        self._check_started()
        if not 1 <= prefetch <= 65535:
            raise ConfigurationError(f"prefetch must be from 1 to 65535, not {prefetch}")
        subscription = RabbitSubscription(
            self._in, self._topology, queue, prefetch=prefetch, publish=self.publish, clock=self._clock
        )
        try:
            await subscription.start()
        except ChannelAccessRefused as error:
            await subscription.close()
            raise NotPermitted(f"RabbitMQ does not let this user consume {queue!r}: {error}") from error
        except LOST as error:
            await subscription.close()
            raise BusUnavailable(f"queue {queue!r} can't be consumed now: {error!r}") from error
        self._subscriptions = {known for known in self._subscriptions if not known.closed} | {subscription}
        return subscription

    async def stats(self, queue: str) -> QueueStats:
        """See ``bus.port.Bus``. Raises ConfigurationError when there is no such queue.

        AMQP shows neither what is unsettled nor how old a queue's head is, and looking at the head by
        taking it and giving it back would count as a delivery. So ``unsettled`` is None; and ``oldest``
        is known where this bus consumes the queue, as an upper bound: what still waits was published
        after what came last. Elsewhere it is None.
        """
        self._check_started()
        ready, consumers = await self._topology.count(queue)
        seen = [
            at
            for subscription in self._subscriptions
            if subscription.queue == queue and not subscription.closed
            if (at := subscription.oldest_possible) is not None
        ]
        oldest = max(0.0, self._clock() - max(seen)) if ready and seen else None
        return QueueStats(ready, None, consumers, oldest)

    async def purge(self, queue: str) -> int:
        """See ``bus.port.Bus``. Raises ConfigurationError when there is no such queue."""
        self._check_started()
        return await self._topology.purge(queue)

    @property
    def state(self) -> str:
        """See ``bus.port.Bus``."""
        if not (self._out.connected and self._in.connected):
            return "disconnected"
        return "blocked" if self._out.blocked else "connected"

    def _check_started(self) -> None:
        if not self._started:
            raise BusUnavailable("the bus is not started, or closed")
