"""One channel that consumes one queue, from its opening to its end, and its unsettled tags."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from aio_pika.abc import AbstractChannel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from bus.rabbit.arrivals import Arrival, read_arrival
from bus.rabbit.connection import LOST, heard
from bus.rabbit.frames import DELIVER, ack_frame
from bus.rabbit.tap import Lane, TappedConnection
from contracts.record import record

__all__ = ["Session", "Token"]

_log = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 5.0  # seconds
# Seconds for which acks are gathered, as long as they leave most of the prefetch to new messages. To a quorum
# queue each ack is an entry of its log, on the disk of each member: ten in one cost what one does.
_GATHER = 0.1
_OF_PREFETCH = 4

Arrive = Callable[["Session", Arrival], None]


@record
class Token:
    """A delivery tag and the session it is valid in; ``turn`` counts how often it was handed out again."""

    session: Session
    tag: int
    turn: int = 0

    def take(self) -> bool:
        """Claim the settling; False when it was settled already, or its session is over."""
        return self.session.take(self.tag, self.turn)

    def next(self) -> Token:
        """For handing it out once more after it was taken."""
        self.session.hold(self.tag, self.turn + 1)
        return Token(self.session, self.tag, self.turn + 1)


class Session:
    """Ends with its connection, its channel, or a cancel from the broker; it is never revived.

    Acks are gathered for a moment. A run of tags with nothing unsettled below it is one cumulative ack.
    """

    def __init__(self, connection: TappedConnection, queue: str, prefetch: int, arrive: Arrive) -> None:
        self._connection = connection
        self._queue = queue
        self._prefetch = prefetch
        self._arrive = arrive
        self._channel: AbstractChannel | None = None
        self._lane: _Inbound | None = None
        self._consuming = False
        self._ended = asyncio.Event()
        self._held: dict[int, int] = {}
        self._open_tags: dict[int, None] = {}
        self._acks: list[int] = []
        self._sending: asyncio.TimerHandle | None = None
        # Deliveries overtake aiormq's answer that the queue is consumed; before it nothing could be acked.
        self._early: list[Arrival] = []

    async def open(self) -> None:
        """Raises what is in ``LOST``."""
        self._channel = await self._connection.channel(publisher_confirms=False)
        self._channel.close_callbacks.add(self._on_close)
        raw = await self._channel.get_underlay_channel()
        # Without this the broker's cancel (a deleted queue, a moved leader) ends a consumer in silence.
        raw.on_consumer_cancel_callbacks.add(self._on_cancel)
        await raw.basic_qos(prefetch_count=self._prefetch)
        self._lane = _Inbound(raw.number, self._on_delivery)
        self._connection.add_lane(self._lane)
        await raw.basic_consume(self._queue, _not_through_here)
        self._consuming = True
        early, self._early = self._early, []
        for came in early:
            self._arrive(self, came)

    async def ended(self) -> None:
        """Returns when nothing more will arrive."""
        await self._ended.wait()

    def take(self, tag: int, turn: int) -> bool:
        """Claim the settling of a tag that was handed out for the ``turn``-th time; whether it was open."""
        if self._ended.is_set() or self._held.get(tag) != turn:
            return False
        del self._held[tag]
        return True

    def hold(self, tag: int, turn: int) -> None:
        """A tag that was taken is to be handed out again."""
        self._held[tag] = turn

    def ack(self, tags: Iterable[int]) -> None:
        """Ack what was taken, soon."""
        self._acks.extend(tags)
        if len(self._acks) * _OF_PREFETCH >= self._prefetch:
            self._send()
        elif self._sending is None:
            self._sending = asyncio.get_running_loop().call_later(_GATHER, self._send)

    async def close(self) -> None:
        """Send what is settled, then close the channel: the broker gives back the rest."""
        self._send()
        self._end()
        try:
            async with heard(), asyncio.timeout(_CLOSE_TIMEOUT):
                if self._channel is not None and not self._channel.is_closed:
                    await self._channel.close()
        except LOST as error:
            _log.debug("closing a channel that was broken already: %r", error)

    def _on_delivery(self, came: Arrival) -> None:
        self._held[came.tag] = 0
        self._open_tags[came.tag] = None
        if self._consuming:
            self._arrive(self, came)
        else:
            self._early.append(came)

    def _on_cancel(self, _frame: Basic.Cancel) -> None:
        self._send()
        self._end()

    def _on_close(self, _channel: AbstractChannel | None, _error: BaseException | None) -> None:
        self._end()

    def _end(self) -> None:
        """Nothing is sent from here on: a frame on a closed channel closes the connection."""
        self._connection.flush()
        self._consuming = False
        self._ended.set()

    def _send(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        if not self._acks or not self._consuming or self._lane is None or not self._lane.usable:
            return  # the broker delivers again what was acked in vain
        acks, self._acks = sorted(self._acks), []
        run = self._lowest_run(set(acks))
        for tag in acks:
            self._open_tags.pop(tag, None)
        number = self._lane.number
        frames = [ack_frame(number, tag, multiple=False) for tag in acks[len(run) :]]
        if run:
            frames.insert(0, ack_frame(number, run[-1], multiple=len(run) > 1))
        self._connection.send(frames)

    def _lowest_run(self, acked: set[int]) -> list[int]:
        """The acked tags that have nothing unsettled below them."""
        run = []
        for tag in self._open_tags:
            if tag not in acked:
                break
            run.append(tag)
        return run


class _Inbound(Lane):
    """The deliveries of one channel."""

    takes = frozenset({DELIVER})

    def __init__(self, number: int, arrived: Callable[[Arrival], None]) -> None:
        super().__init__(number)
        self._arrived = arrived

    def on_content(self, method: bytes, header: bytes, body: bytes) -> None:
        self._arrived(read_arrival(method, header, body))


async def _not_through_here(_delivered: DeliveredMessage) -> None:
    """What aiormq would call: the lane has taken every delivery before."""
