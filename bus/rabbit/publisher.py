"""Publishing with confirms: everybody shares one channel, and each message has an outcome of its own."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiormq.exceptions import ChannelNotFoundEntity

from bus.port import Outgoing
from bus.rabbit.connection import LOST, Link, heard
from bus.rabbit.delays import delay_name, tier_of
from bus.rabbit.names import direct_name
from bus.rabbit.outbound import Batch, Nacked, Outbound, Outcome, Returned, Unwritable
from bus.rabbit.refusals import is_refused, is_too_large
from bus.rabbit.topology import Topology
from contracts.errors import (
    BusError,
    BusUnavailable,
    ConfigurationError,
    NotPermitted,
    PublishRefused,
    TooLarge,
    Unroutable,
)

__all__ = ["Publisher"]


# What opening a lane may end in when the broker goes away meanwhile.
_LOST_LANE: tuple[type[Exception], ...] = (*LOST, BusUnavailable)
_AT_ONCE = 256  # messages sent before there must be room in the socket for more


class _Lost(BusUnavailable):
    """The channel went before the confirm came: worth another try while there is time."""


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
        self._lane: Outbound | None = None
        self._opening = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._running = 0
        self._idle = asyncio.Event()

    async def publish(self, outgoing: Sequence[Outgoing], timeout: float) -> dict[int, BusError]:
        """What went wrong, by index; whatever is not in there was confirmed.

        Raises ConfigurationError for what can't be written at all.

        What was lost with its channel is sent again, with the same id, while there is time.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        self._running += 1
        try:
            return await self._publish(outgoing, deadline)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _publish(self, outgoing: Sequence[Outgoing], deadline: float) -> dict[int, BusError]:
        errors: dict[int, BusError] = {}
        todo: Sequence[int] = range(len(outgoing))
        while todo:
            batch = Batch()
            sent = self._send_at_once(outgoing, todo, batch)
            if sent < len(todo):
                errors |= await self._send(outgoing, todo[sent:], batch, deadline)
            await batch.done(deadline)
            if batch.left or batch.outcomes:
                errors |= {index: self._too_late() for index in batch.left}
                errors |= {index: self._error(why, outgoing[index]) for index, why in batch.outcomes.items()}
            if not errors or asyncio.get_running_loop().time() >= deadline:
                break
            todo = [index for index, error in errors.items() if isinstance(error, _Lost)]
            for index in todo:
                del errors[index]
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
        finally:
            for task in self._retiring:
                task.cancel()

    def _send_at_once(self, outgoing: Sequence[Outgoing], indexes: Sequence[int], batch: Batch) -> int:
        """Send what needs to wait for nothing, up to what does: the usual case. How many were sent."""
        lane = self._ready_lane()
        if lane is None:
            return 0
        for sent, index in enumerate(indexes):
            out = outgoing[index]
            if out.delay or lane.holds(out.message.id) or sent == _AT_ONCE:
                return sent
            lane.send(out, self._exchange(out), batch, index)
        return len(indexes)

    async def _send(
        self, outgoing: Sequence[Outgoing], indexes: Sequence[int], batch: Batch, deadline: float
    ) -> dict[int, BusError]:
        """Send these, each as soon as it can be. What could not be sent, and why."""
        errors: dict[int, BusError] = {}
        waiting = deque(indexes)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                lane = self._ready_lane() or await self._open()
                while waiting:
                    out = outgoing[waiting[0]]
                    try:
                        await self._way_is_there(out)
                        await self._room(lane, out, len(indexes) - len(waiting))
                        lane.send(out, self._exchange(out), batch, waiting[0])
                    except BusError as error:
                        errors[waiting[0]] = error
                    waiting.popleft()
        except TimeoutError:
            errors |= {index: self._too_late() for index in waiting}
        except _LOST_LANE as lost:
            # Opening a lane failed; the pause keeps a broker that refuses channels from being hammered.
            await asyncio.sleep(min(0.05, max(0.0, deadline - loop.time())))
            errors |= {index: _Lost(f"RabbitMQ closed the channel: {lost!r}") for index in waiting}
        except Unwritable:
            raise
        except ConfigurationError as error:
            errors |= {index: BusUnavailable(str(error)) for index in waiting}
        return errors

    async def _room(self, lane: Outbound, out: Outgoing, sent: int) -> None:
        """Return when this message may be sent on this lane. Raises _Lost when nothing can be."""
        if sent % _AT_ONCE == 0:
            with suppress(ConnectionError):  # then the lane closes, and says what was lost
                await lane.drain()
        if lane.holds(out.message.id):  # last: whoever else waited for room may have sent one with this id
            await lane.free(out.message.id)
        if lane.is_closed:
            raise _Lost("the channel closed before this message was sent")

    def _too_late(self) -> BusUnavailable:
        if self._link.blocked:
            return BusUnavailable("RabbitMQ blocks publishes for now: it is short of memory or disk")
        if not self._link.connected:
            return BusUnavailable("RabbitMQ is not connected")
        return BusUnavailable("RabbitMQ gave no confirm in time")

    def _error(self, outcome: Outcome, out: Outgoing) -> BusError:
        """What went wrong with a message that was not confirmed. Raises what nobody had thought of."""
        if isinstance(outcome, Returned) and out.delay:
            # Its tier's exchange has a queue bound to it since it was made, and by then there was the target.
            self._topology.forget(out.routing_key)
            return _Lost("the queue of its delay tier was deleted")
        if isinstance(outcome, Returned):
            return Unroutable(
                f"message {out.message.id!r} reached no queue: nothing is bound to "
                f"exchange {out.exchange!r} with routing key {out.routing_key!r}"
            )
        if isinstance(outcome, Nacked):
            return PublishRefused(f"RabbitMQ refused message {out.message.id!r}: a queue takes no more")
        if outcome is None or isinstance(outcome, asyncio.CancelledError):
            return _Lost("the connection to RabbitMQ was lost before the confirm")
        if is_refused(outcome, self._exchange(out), out.routing_key):
            return NotPermitted(f"RabbitMQ refused message {out.message.id!r} to this user: {outcome}")
        if is_too_large(outcome, len(out.message.body)):
            return TooLarge(f"RabbitMQ takes no message as large as {out.message.id!r}: {outcome}")
        if isinstance(outcome, ChannelNotFoundEntity):
            self._topology.forget(out.routing_key)
        if isinstance(outcome, LOST):
            return _Lost(f"the channel closed before the confirm: {outcome!r}")
        raise outcome

    def _exchange(self, out: Outgoing) -> str:
        """Where to publish."""
        if out.delay:
            return delay_name(tier_of(out.delay), self._user)
        return out.exchange or direct_name(self._user)

    async def _way_is_there(self, out: Outgoing) -> None:
        """Return when a delayed message can be sent: it can't be mandatory at its end, so that is looked up.

        Raises Unroutable, BusUnavailable.
        """
        if not out.delay:
            return
        if out.mandatory and not await self._topology.exists(out.routing_key):
            raise Unroutable(
                f"message {out.message.id!r} is delayed for queue {out.routing_key!r}, which does not exist"
            )
        try:
            await self._topology.ensure_tier(tier_of(out.delay))
        except ConfigurationError as error:
            raise BusUnavailable(f"the delay tier {self._exchange(out)} can't be had: {error}") from error

    def _ready_lane(self) -> Outbound | None:
        """The lane, where there is nothing to wait for."""
        lane = self._lane
        return lane if lane is not None and not lane.is_worn and self._link.ready else None

    async def _open(self) -> Outbound:
        """The lane of the present connection, once the broker takes publishes."""
        connection = await self._link.unblocked()
        async with self._opening:
            old = self._lane
            if old is not None and not old.is_worn:
                return old
            if old is not None and old.is_closed:
                # It may have closed because an exchange was deleted (404): make sure of all of them.
                self._topology.forget()
                await self._topology.declare_exchanges()
            async with heard():
                lane = self._lane = await Outbound.open(connection, self._user, self._clock)
            if old is not None and not old.is_closed:
                task = asyncio.create_task(_retire(old), name="retire a channel")
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
            return lane


async def _retire(lane: Outbound) -> None:
    """Close a channel that is used no more, once all that was sent on it has its outcome."""
    await lane.emptied()
    with suppress(*LOST):
        await lane.close()
