"""Publishing with confirms: everybody shares one channel, and each message has an outcome of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from aio_pika.abc import AbstractChannel
from aiormq.channel import Channel as RawChannel
from aiormq.exceptions import ChannelNotFoundEntity, DeliveryError, PublishError

from bus.port import Outgoing
from bus.rabbit.connection import LOST, Link
from bus.rabbit.delays import delay_name, tier_of
from bus.rabbit.names import direct_name
from bus.rabbit.refusals import is_refused
from bus.rabbit.topology import Topology
from bus.rabbit.wire import properties_of
from contracts.errors import BusError, BusUnavailable, ConfigurationError, NotPermitted, Unroutable

__all__ = ["Publisher"]


# What opening a lane may end in when the broker goes away meanwhile.
_LOST_LANE: tuple[type[Exception], ...] = (*LOST, BusUnavailable)


class _Lost(BusUnavailable):
    """The channel went before the confirm came: worth another try while there is time."""


class _Lane:
    """One publishing channel, with the sends that wait for their confirm on it.

    Each send is a task that nobody cancels while the channel lives: aiormq closes a channel when a return
    comes for a publish that was cancelled.
    """

    def __init__(
        self, channel: AbstractChannel, raw: RawChannel, user: str | None, clock: Callable[[], float]
    ) -> None:
        self._user = user
        self._channel = channel  # aio-pika holds its own objects weakly (#536)
        self._raw = raw
        self._clock = clock
        self.sends: set[asyncio.Task[None]] = set()
        self._ids: dict[str, asyncio.Task[None]] = {}
        channel.close_callbacks.add(self._on_close)

    @property
    def is_closed(self) -> bool:
        return self._channel.is_closed

    async def close(self) -> None:
        await self._channel.close()

    async def send(self, out: Outgoing, exchange: str) -> asyncio.Task[None]:
        """Start a publish; the task ends with its outcome.

        A return carries no delivery tag, only the message, so aiormq finds its publish by message id.
        Two with one id must therefore not be in flight on one channel: the second waits for the first.
        """
        id_ = out.message.id
        while (before := self._ids.get(id_)) is not None:
            await asyncio.wait([before])
        task = asyncio.get_running_loop().create_task(self._publish(out, exchange))
        self._ids[id_] = task
        self.sends.add(task)
        task.add_done_callback(lambda done: self._done(id_, done))
        return task

    def _done(self, id_: str, task: asyncio.Task[None]) -> None:
        self.sends.discard(task)
        if self._ids.get(id_) is task:
            del self._ids[id_]
        if not task.cancelled():
            task.exception()  # its publisher may have given up waiting; then nobody else looks

    async def _publish(self, out: Outgoing, exchange: str) -> None:
        await self._raw.basic_publish(
            out.message.body,
            exchange=exchange,
            routing_key=out.routing_key,
            properties=properties_of(out.message, self._clock(), self._user),
            mandatory=out.mandatory,
            wait=False,
        )

    def _on_close(self, _channel: AbstractChannel | None, _error: BaseException | None) -> None:
        """aiormq fails the confirms that are awaited, but not a publish that waits to be written."""
        for task in self.sends:
            task.cancel()


class Publisher:
    """Publishes on one link. ``user``: see ``RabbitBus``; ``clock`` gives seconds since the epoch."""

    def __init__(
        self,
        link: Link,
        topology: Topology,
        *,
        user: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._user = user
        self._link = link
        self._topology = topology
        self._clock = clock
        self._lane: _Lane | None = None
        self._opening = asyncio.Lock()
        self._running: set[object] = set()
        self._idle = asyncio.Event()

    async def publish(self, outgoing: Sequence[Outgoing], timeout: float) -> dict[int, BusError]:
        """What went wrong, by index; whatever is not in there was confirmed.

        What was lost with its channel is sent again, with the same id, while there is time.
        """
        this = object()
        self._running.add(this)
        try:
            return await self._publish(outgoing, asyncio.get_running_loop().time() + timeout)
        finally:
            self._running.discard(this)
            if not self._running:
                self._idle.set()

    async def _publish(self, outgoing: Sequence[Outgoing], deadline: float) -> dict[int, BusError]:
        todo = list(range(len(outgoing)))
        errors: dict[int, BusError] = {}
        while todo:
            outcome = await self._try(outgoing, todo, deadline)
            errors |= outcome
            todo = [index for index, error in outcome.items() if isinstance(error, _Lost)]
            if asyncio.get_running_loop().time() >= deadline:
                break
            errors = {index: error for index, error in errors.items() if index not in todo}
        return errors

    async def close(self, timeout: float) -> None:
        """Wait for the publishes that are under way, ``timeout`` seconds at the most."""
        try:
            async with asyncio.timeout(timeout):
                while self._running:
                    self._idle.clear()
                    await self._idle.wait()
                if self._lane is not None and not self._lane.is_closed:
                    await self._lane.close()
        except LOST:
            return  # it broke, or hangs: the link closes it with the connection

    async def _try(
        self, outgoing: Sequence[Outgoing], indexes: Iterable[int], deadline: float
    ) -> dict[int, BusError]:
        errors: dict[int, BusError] = {}
        sends: dict[asyncio.Task[None], int] = {}
        ways: dict[asyncio.Task[None], str] = {}
        waiting = list(indexes)
        try:
            async with asyncio.timeout_at(deadline):
                lane = await self._open()
                while waiting:
                    out = outgoing[waiting[0]]
                    try:
                        exchange = await self._exchange(out)
                    except BusError as error:
                        errors[waiting.pop(0)] = error
                        continue
                    task = await lane.send(out, exchange)
                    sends[task] = waiting.pop(0)
                    ways[task] = exchange
                if sends:
                    await asyncio.wait(sends)
        except TimeoutError:
            errors |= {index: self._too_late() for index in waiting}
        except _LOST_LANE as lost:
            # Opening a lane failed; the pause keeps a broker that refuses channels from being hammered.
            await asyncio.sleep(min(0.05, max(0.0, deadline - asyncio.get_running_loop().time())))
            errors |= {index: _Lost(f"RabbitMQ closed the channel: {lost!r}") for index in waiting}
        except ConfigurationError as error:
            errors |= {index: BusUnavailable(str(error)) for index in waiting}
        for task, index in sends.items():
            failure = self._outcome(task, outgoing[index], ways[task])
            if failure is not None:
                errors[index] = failure
        return errors

    def _too_late(self) -> BusUnavailable:
        if self._link.blocked:
            return BusUnavailable("RabbitMQ blocks publishes for now: it is short of memory or disk")
        if not self._link.connected:
            return BusUnavailable("RabbitMQ is not connected")
        return BusUnavailable("RabbitMQ gave no confirm in time")

    def _outcome(self, task: asyncio.Task[None], out: Outgoing, exchange: str) -> BusError | None:
        if not task.done():
            return self._too_late()
        if task.cancelled():
            return _Lost("the connection to RabbitMQ was lost before the confirm")
        error = task.exception()
        if error is None:
            return None
        if isinstance(error, PublishError):
            return Unroutable(
                f"message {out.message.id!r} reached no queue: nothing is bound to "
                f"exchange {out.exchange!r} with routing key {out.routing_key!r}"
            )
        if isinstance(error, DeliveryError):
            return BusUnavailable(f"RabbitMQ refused message {out.message.id!r}: {error!r}")
        if is_refused(error, exchange, out.routing_key):
            return NotPermitted(f"RabbitMQ refused message {out.message.id!r} to this user: {error}")
        if isinstance(error, ChannelNotFoundEntity):
            self._topology.forget(out.routing_key)
        if isinstance(error, LOST):
            return _Lost(f"the channel closed before the confirm: {error!r}")
        raise error

    async def _exchange(self, out: Outgoing) -> str:
        """Where to publish. A delayed one can't be mandatory at its end: its queue is looked up before."""
        if not out.delay:
            return out.exchange or direct_name(self._user)
        if out.mandatory and not await self._topology.exists(out.routing_key):
            raise Unroutable(
                f"message {out.message.id!r} is delayed for queue {out.routing_key!r}, which does not exist"
            )
        tier = tier_of(out.delay)
        try:
            await self._topology.ensure_tier(tier)
        except ConfigurationError as error:
            name = delay_name(tier, self._user)
            raise BusUnavailable(f"the delay tier {name} can't be had: {error}") from error
        return delay_name(tier, self._user)

    async def _open(self) -> _Lane:
        """The lane of the present connection, once the broker takes publishes."""
        connection = await self._link.unblocked()
        async with self._opening:
            if self._lane is None or self._lane.is_closed:
                if self._lane is not None:
                    # It may have closed because an exchange was deleted (404): make sure of all of them.
                    self._topology.forget()
                    await self._topology.declare_exchanges()
                channel = await connection.channel(on_return_raises=True)
                # aio-pika's own publish waits for each message to leave the socket, one after the other.
                raw = cast(RawChannel, await channel.get_underlay_channel())
                self._lane = _Lane(channel, raw, self._user, self._clock)
            return self._lane
