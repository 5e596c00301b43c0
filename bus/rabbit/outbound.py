"""One publishing channel: messages go out many in one write, and confirms come back many in one read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from aio_pika.abc import AbstractChannel
from aiormq.channel import Channel as RawChannel

from bus.port import Outgoing
from bus.rabbit.arrivals import returned_id
from bus.rabbit.frames import ACK, NACK, RETURN, content_frames, publish_frame, read_confirm
from bus.rabbit.tap import Lane, TappedConnection
from contracts.errors import ConfigurationError

__all__ = ["Batch", "Confirmed", "Nacked", "Outbound", "Outcome", "Returned", "Unwritable"]


class Unwritable(ConfigurationError):
    """A message that AMQP has no bytes for."""


class Confirmed:
    """The broker has it on disk."""


class Returned:
    """It reached no queue."""


class Nacked:
    """The broker has refused it."""


# What became of a message that was not confirmed; an exception is why its channel closed, None that nobody
# said.
Outcome = Returned | Nacked | BaseException | None

# Seconds after which a channel on which a message was refused is replaced. RabbitMQ remembers on each channel
# which node leads a quorum queue: one whose first message comes while that node is down refuses all that
# follow until it is back, long after another leads (rabbit_fifo_client, 3.10 and later). A queue that is full
# refuses as well, and often; hence a pause.
_REFUSED_LANE = 1.0

_CONFIRMED, _RETURNED, _NACKED = Confirmed(), Returned(), Nacked()


class Batch:
    """Messages that are waited for together; ``outcomes`` by their index, without the confirmed ones."""

    __slots__ = ("_ended", "left", "outcomes")

    def __init__(self) -> None:
        self.left: set[int] = set()
        self.outcomes: dict[int, Outcome] = {}
        self._ended: asyncio.Future[None] | None = None

    def settle(self, index: int, outcome: Confirmed | Outcome) -> None:
        """One message has its outcome."""
        self.left.discard(index)
        if not isinstance(outcome, Confirmed):
            self.outcomes[index] = outcome
        if not self.left:
            self._end()

    async def done(self, deadline: float) -> None:
        """Return when every message has its outcome, or at this time of the event loop's clock.

        To be called when all are sent: before, that none is left says nothing.
        """
        if self.left:
            loop = asyncio.get_running_loop()
            self._ended = loop.create_future()
            timer = loop.call_at(deadline, self._end)
            try:
                await self._ended
            finally:
                timer.cancel()

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class Outbound(Lane):
    """The lane of one channel with confirms. ``clock`` gives seconds since the epoch.

    A return carries no delivery tag, only the message, so that it finds its publish by the message's id: two
    with one id are never in flight on one channel.
    """

    takes = frozenset({ACK, NACK, RETURN})

    def __init__(
        self,
        connection: TappedConnection,
        channel: AbstractChannel,
        raw: RawChannel,
        user: str | None,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(raw.number)
        self._connection = connection
        self._channel = channel  # aio-pika holds its own objects weakly (#536)
        self._raw = raw
        self._frame_max = raw.connection.connection_tune.frame_max or 0
        self._user = user
        self._clock = clock
        self._opened_at = asyncio.get_running_loop().time()
        self._has_refused = False
        self._tag = 0
        self._waiting: dict[int, tuple[Batch, int, str]] = {}
        self._ids: dict[str, int] = {}
        self._returned: set[int] = set()
        self._freed: dict[str, asyncio.Event] = {}
        channel.close_callbacks.add(self._on_close)
        connection.add_lane(self)

    @classmethod
    async def open(
        cls, connection: TappedConnection, user: str | None, clock: Callable[[], float]
    ) -> Outbound:
        """On a new channel. Raises what is in ``connection.LOST``."""
        channel = await connection.channel(publisher_confirms=True)
        raw = cast(RawChannel, await channel.get_underlay_channel())
        return cls(connection, channel, raw, user, clock)

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent on it any more."""
        return not self.usable or self._raw.is_closed

    @property
    def is_worn(self) -> bool:
        """Whether another is to be opened in its place: it is closed, or the broker refuses messages here."""
        if self._has_refused:
            return self.is_closed or asyncio.get_running_loop().time() - self._opened_at >= _REFUSED_LANE
        return self.is_closed

    async def close(self) -> None:
        """Close the channel; what waits for its confirm is lost."""
        self.usable = False
        self._connection.flush()
        await self._channel.close()

    def holds(self, id: str) -> bool:
        """Whether a message with this id waits for its confirm."""
        return id in self._ids

    async def free(self, id: str) -> None:
        """Return when no message with this id waits for its confirm."""
        while id in self._ids:
            await self._freed.setdefault(id, asyncio.Event()).wait()

    async def emptied(self) -> None:
        """Return when nothing waits for its confirm."""
        while self._ids:
            await self.free(next(iter(self._ids)))

    def send(self, out: Outgoing, exchange: str, batch: Batch, index: int) -> None:
        """Publish, and tell the batch what became of it.

        Raises Unwritable, in which case it was not sent.
        """
        message = out.message
        try:
            frames = content_frames(
                self.number,
                message.body,
                id=message.id,
                content_type=message.content_type,
                headers=message.headers,
                at=int(self._clock()),
                user=self._user,
                frame_max=self._frame_max,
            )
            first = publish_frame(self.number, exchange, out.routing_key, out.mandatory)
        except ValueError as error:
            raise Unwritable(f"message {message.id!r} can't be written: {error}") from error
        self._tag += 1
        self._waiting[self._tag] = (batch, index, message.id)
        self._ids[message.id] = self._tag
        batch.left.add(index)
        self._connection.send([first, *frames])

    async def drain(self) -> None:
        """Return when there is room for more. Raises ConnectionError."""
        await self._connection.drain()

    def on_method(self, method: int, payload: bytes) -> None:
        """A confirm, of one message or of all up to it."""
        tag, multiple = read_confirm(payload)
        outcome: Confirmed | Nacked = _CONFIRMED
        if method == NACK:
            outcome = _NACKED
            self._has_refused = True
        if not multiple:
            self._settle(tag, outcome)
            return
        confirmed = []
        for waiting in self._waiting:  # in the order in which they were sent
            if waiting > tag:
                break
            confirmed.append(waiting)
        for waiting in confirmed:
            self._settle(waiting, outcome)

    def on_content(self, method: bytes, header: bytes, body: bytes) -> None:
        """A message came back; its confirm, which says no more than that it was handled, comes after."""
        tag = self._ids.get(returned_id(header))
        if tag is not None:
            self._returned.add(tag)

    def _settle(self, tag: int, outcome: Confirmed | Outcome) -> None:
        found = self._waiting.pop(tag, None)
        if found is None:
            return
        batch, index, id = found
        if self._ids.get(id) == tag:
            del self._ids[id]
        if self._freed and (freed := self._freed.pop(id, None)) is not None:
            freed.set()
        if self._returned and tag in self._returned:
            self._returned.discard(tag)
            outcome = _RETURNED
        batch.settle(index, outcome)

    def _on_close(self, _channel: AbstractChannel | None, error: BaseException | None) -> None:
        self.usable = False
        for tag in list(self._waiting):
            self._settle(tag, error)
