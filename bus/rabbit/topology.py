"""Exchanges and queues: made, made again, looked at, over one channel that is replaced when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as RawChannel
from aiormq.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp.common import FieldTable

from bus.dead import dead_name
from bus.port import DIRECT, Queue
from bus.rabbit.connection import LOST, Link
from bus.rabbit.delays import delay_name
from bus.routing import EXCHANGES
from contracts.errors import BusUnavailable, ConfigurationError

__all__ = ["Topology"]

T = TypeVar("T")

_QUORUM = "quorum"


class Topology:
    """Declares what the bus needs. Arguments carry identity only (type, single-active, where the dead go):
    they can't change once a queue exists (406), so whatever one may want to tune belongs into a policy.

    It works on the consuming connection, which the broker does not block when it is short of memory or disk.
    ``timeout`` bounds each call, in seconds.
    """

    def __init__(self, link: Link, *, timeout: float) -> None:
        self._link = link
        self._timeout = timeout
        self._channel: AbstractChannel | None = None
        self._lock = asyncio.Lock()
        self._declared: dict[str, Queue] = {}
        self._seen: set[str] = set()
        self._tiers: set[int] = set()

    async def declare_exchanges(self) -> None:
        """The exchanges of the house. Raises ConfigurationError when one exists with another type."""

        async def work(channel: RawChannel) -> None:
            for name, kind in EXCHANGES.items():
                await channel.exchange_declare(name, exchange_type=kind, durable=True)

        await self._call("the exchanges", work)

    async def declare(self, queue: Queue) -> None:
        """A queue with its dead queue and bindings. Raises ConfigurationError, BusUnavailable."""

        async def work(channel: RawChannel) -> None:
            dead = dead_name(queue.name)
            if dead != queue.name:
                await channel.queue_declare(dead, durable=True, arguments={"x-queue-type": _QUORUM})
            arguments = _arguments(queue, dead)
            await channel.queue_declare(queue.name, durable=True, arguments=arguments)
            for binding in queue.bindings:
                await channel.queue_bind(queue.name, binding.exchange, binding.pattern)

        await self._call(f"queue {queue.name!r}", work)
        known = self._declared.get(queue.name, queue)
        bindings = tuple(dict.fromkeys((*known.bindings, *queue.bindings)))
        self._declared[queue.name] = Queue(queue.name, bindings, queue.single_active)
        self._seen |= {queue.name, dead_name(queue.name)}

    async def declare_again(self, name: str) -> bool:
        """Make a queue that has gone, when it was declared here; whether it was.

        Raises ConfigurationError, BusUnavailable.
        """
        for queue in self._declared.values():
            if name in (queue.name, dead_name(queue.name)):
                await self.declare(queue)
                return True
        return False

    async def count(self, name: str) -> tuple[int, int]:
        """Ready messages and consumers of a queue. Raises ConfigurationError when it does not exist."""

        async def work(channel: RawChannel) -> tuple[int, int]:
            found = await channel.queue_declare(name, passive=True)
            return found.message_count or 0, found.consumer_count or 0

        counted = await self._call(f"queue {name!r}", work)
        self._seen.add(name)
        return counted

    async def purge(self, name: str) -> int:
        """Drop what is ready; how many those were. Raises ConfigurationError when it does not exist."""

        async def work(channel: RawChannel) -> int:
            return (await channel.queue_purge(name)).message_count or 0

        return await self._call(f"queue {name!r}", work)

    async def exists(self, name: str) -> bool:
        """Whether a queue is there, as far as this bus has seen: a delayed message finds out too late."""
        if name not in self._seen:
            try:
                await self.count(name)
            except ConfigurationError:
                return False
        return True

    async def ensure_tier(self, milliseconds: int) -> None:
        """The exchange and the queue of a delay tier; see ``bus.rabbit.delays``."""
        if milliseconds in self._tiers:
            return
        name = delay_name(milliseconds)

        async def work(channel: RawChannel) -> None:
            await channel.exchange_declare(name, exchange_type="fanout", durable=True)
            await channel.queue_declare(name, durable=True, arguments=_delay_arguments(milliseconds))
            await channel.queue_bind(name, name)

        await self._call(f"delay queue {name!r}", work)
        self._tiers.add(milliseconds)

    def forget(self, *names: str) -> None:
        """Something was deleted behind our back: look again before trusting these queues or any tier."""
        self._seen.difference_update(names)
        self._tiers.clear()

    async def _call(self, what: str, work: Callable[[RawChannel], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout), self._lock:
                return await work(await self._open())
        except ChannelPreconditionFailed as error:
            raise ConfigurationError(
                f"{what} exists with other arguments: {error}; "
                "use another name, or delete it when it is empty"
            ) from error
        except ChannelNotFoundEntity as error:
            raise ConfigurationError(f"{what} does not exist; declare it first ({error})") from error
        except LOST as error:
            raise BusUnavailable(f"RabbitMQ did not answer about {what}: {error!r}") from error

    async def _open(self) -> RawChannel:
        """The control channel; the broker closes it with each refusal, so it is opened when needed."""
        if self._channel is None or self._channel.is_closed:
            connection = await self._link.connection()
            self._channel = await connection.channel(publisher_confirms=False)
        return await self._channel.get_underlay_channel()


def _arguments(queue: Queue, dead: str) -> FieldTable:
    """A queue's identity: what it is, and where its dead go.

    RabbitMQ 4 drops a message that was delivered too often (20 times unless a policy says otherwise)
    when its queue knows no place for it.
    """
    arguments: FieldTable = {"x-queue-type": _QUORUM}
    if dead != queue.name:
        arguments |= _dead_letters() | {"x-dead-letter-routing-key": dead}
    if queue.single_active:
        arguments["x-single-active-consumer"] = True
    return arguments


def _delay_arguments(milliseconds: int) -> FieldTable:
    """A delay queue's arguments are its identity: the time is in its name."""
    return {"x-queue-type": _QUORUM, "x-message-ttl": milliseconds, **_dead_letters()}


def _dead_letters() -> FieldTable:
    """Dead-lettering that keeps a message until its target has confirmed it; it needs reject-publish."""
    return {
        "x-dead-letter-exchange": DIRECT,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
