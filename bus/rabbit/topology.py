"""Exchanges and queues: made, made again, looked at, over one channel that is replaced when it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as RawChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp.common import FieldTable

from bus.dead import dead_name
from bus.port import Queue
from bus.rabbit.connection import LOST, Link, heard
from bus.rabbit.delays import delay_name, tiers_of
from bus.rabbit.names import direct_name
from bus.routing import EXCHANGES
from contracts.errors import BusUnavailable, ConfigurationError, NotPermitted

__all__ = ["Topology", "dead_arguments", "queue_arguments"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_QUORUM = "quorum"
_PROVISION = "run 'antiphon broker provision MODULE:APP' for this broker and this version of the app"


class Topology:
    """Declares what the bus needs. Arguments carry identity only (type, single-active, where the dead go):
    they can't change once a queue exists (406), so whatever one may want to tune belongs into a policy.

    It works on the consuming connection, which the broker does not block when it is short of memory or disk.
    ``timeout`` bounds each call, in seconds. ``user``: one of a provisioned broker's, who may make nothing
    but its own delay tiers; then it is only checked that the rest is there.
    """

    def __init__(self, link: Link, *, timeout: float, user: str | None = None) -> None:
        self._link = link
        self._user = user
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

        if self._user is None:
            await self._call("the exchanges", work)
            return
        for name in (*EXCHANGES, direct_name(self._user)):
            await self._check(f"exchange {name!r}", partial(_look_at_exchange, name))

    async def declare(self, queue: Queue) -> None:
        """A queue with its dead queue and bindings. Raises ConfigurationError, BusUnavailable."""
        if self._user is None:
            await self._make(queue)
        else:
            for name in dict.fromkeys((queue.name, dead_name(queue.name))):
                await self._check(f"queue {name!r}", partial(_look_at_queue, name))
        known = self._declared.get(queue.name, queue)
        bindings = tuple(dict.fromkeys((*known.bindings, *queue.bindings)))
        self._declared[queue.name] = replace(queue, bindings=bindings)
        await self._make_tiers(queue)
        self._seen |= {queue.name, dead_name(queue.name)}

    async def _make_tiers(self, queue: Queue) -> None:
        """Now, while the nodes of a cluster are there, and not at the first retry, when one may be gone.

        RabbitMQ gives a quorum queue a member on a node that is down too. When that node comes back and
        leads, 3.10 delivers none of the messages that expire there, until another node leads.
        """
        for tier in tiers_of(queue.delays):
            try:
                await self.ensure_tier(tier)
            except NotPermitted as error:
                # A user of a provisioned broker that delays nothing may make no tier, and needs none.
                _log.debug("delay tier of %d ms: %s", tier, error)
                return

    async def _make(self, queue: Queue) -> None:
        async def work(channel: RawChannel) -> None:
            dead = dead_name(queue.name)
            if dead != queue.name:
                await channel.queue_declare(dead, durable=True, arguments=dead_arguments())
            await channel.queue_declare(queue.name, durable=True, arguments=queue_arguments(queue))
            for binding in queue.bindings:
                await channel.queue_bind(queue.name, binding.exchange, binding.pattern)

        await self._call(f"queue {queue.name!r}", work)

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
        name, user = delay_name(milliseconds, self._user), self._user

        async def work(channel: RawChannel) -> None:
            await channel.exchange_declare(name, exchange_type="fanout", durable=True)
            await channel.queue_declare(name, durable=True, arguments=_delay_arguments(milliseconds, user))
            await channel.queue_bind(name, name)

        await self._call(f"delay queue {name!r}", work)
        self._tiers.add(milliseconds)

    def forget(self, *names: str) -> None:
        """Something was deleted behind our back: look again before trusting these queues or any tier."""
        self._seen.difference_update(names)
        self._tiers.clear()

    async def _check(self, what: str, look: Callable[[RawChannel], Awaitable[None]]) -> None:
        """Raises ConfigurationError when it is not there.

        Brokers before 4.2.6 let everybody look; since then one must have some right on it, so what can't be
        looked at is another's, and no concern of ours.
        """
        try:
            await self._call(what, look)
        except NotPermitted as error:
            _log.debug("%s could not be looked at: %s", what, error)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error}; {_PROVISION}") from error

    async def _call(self, what: str, work: Callable[[RawChannel], Awaitable[T]]) -> T:
        try:
            async with heard(), asyncio.timeout(self._timeout), self._lock:
                return await work(await self._open())
        except ChannelPreconditionFailed as error:
            raise ConfigurationError(
                f"{what} exists with other arguments: {error}; "
                "use another name, or delete it when it is empty"
            ) from error
        except ChannelAccessRefused as error:
            raise NotPermitted(
                f"RabbitMQ does not let this user have {what}: {error}; log in as the user of this role, "
                "and where the broker is provisioned set ANTIPHON_BROKER=provisioned"
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


async def _look_at_exchange(name: str, channel: RawChannel) -> None:
    await channel.exchange_declare(name, passive=True)


async def _look_at_queue(name: str, channel: RawChannel) -> None:
    await channel.queue_declare(name, passive=True)


def dead_arguments() -> FieldTable:
    """A dead queue's identity."""
    return {"x-queue-type": _QUORUM}


def queue_arguments(queue: Queue) -> FieldTable:
    """A queue's identity: what it is, and where its dead go.

    RabbitMQ 4 drops a message that was delivered too often (20 times unless a policy says otherwise)
    when its queue knows no place for it.
    """
    dead = dead_name(queue.name)
    arguments: FieldTable = {"x-queue-type": _QUORUM}
    if dead != queue.name:
        arguments |= _dead_letters(direct_name(None)) | {"x-dead-letter-routing-key": dead}
    if queue.single_active:
        arguments["x-single-active-consumer"] = True
    return arguments


def _delay_arguments(milliseconds: int, user: str | None) -> FieldTable:
    """A delay queue's arguments are its identity: the time is in its name."""
    return {"x-queue-type": _QUORUM, "x-message-ttl": milliseconds, **_dead_letters(direct_name(user))}


def _dead_letters(exchange: str) -> FieldTable:
    """Dead-lettering that keeps a message until its target has confirmed it; it needs reject-publish."""
    return {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
