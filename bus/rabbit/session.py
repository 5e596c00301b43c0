"""One channel that consumes one queue, from its opening to its end, and its unsettled tags."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import AbstractChannel as RawChannel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from bus.rabbit.connection import LOST

__all__ = ["Session", "Token"]

_log = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 5.0  # seconds

Arrive = Callable[["Session", DeliveredMessage, int], None]


@dataclass(frozen=True, slots=True)
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

    Acks of one turn of the event loop are sent together. A run of tags with nothing
    unsettled below it is one cumulative ack.
    """

    def __init__(self, connection: AbstractConnection, queue: str, prefetch: int, arrive: Arrive) -> None:
        self._connection = connection
        self._queue = queue
        self._prefetch = prefetch
        self._arrive = arrive
        self._channel: AbstractChannel | None = None
        self._raw: RawChannel | None = None
        self._ended = asyncio.Event()
        self._held: dict[int, int] = {}
        self._open_tags: dict[int, None] = {}
        self._acks: list[int] = []
        self._sender: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises what is in ``LOST``."""
        self._channel = await self._connection.channel(publisher_confirms=False)
        self._channel.close_callbacks.add(self._on_close)
        self._raw = await self._channel.get_underlay_channel()
        # Without this the broker's cancel (a deleted queue, a moved leader) ends a consumer in silence.
        self._raw.on_consumer_cancel_callbacks.add(self._on_cancel)
        await self._raw.basic_qos(prefetch_count=self._prefetch)
        await self._raw.basic_consume(self._queue, self._on_message)

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
        """Ack what was taken."""
        self._acks.extend(tags)
        self._send_soon()

    async def close(self) -> None:
        """Send what is settled, then close the channel: the broker gives back the rest."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                if not self._ended.is_set():
                    while self._sender is not None:
                        await asyncio.wait([self._sender])
                if self._channel is not None and not self._channel.is_closed:
                    await self._channel.close()
        except LOST as error:
            _log.debug("closing a channel that was broken already: %r", error)
        finally:
            self._end()

    async def _on_message(self, delivered: DeliveredMessage) -> None:
        tag = delivered.delivery_tag
        if tag is not None:
            self._held[tag] = 0
            self._open_tags[tag] = None
            self._arrive(self, delivered, tag)

    def _on_cancel(self, _frame: Basic.Cancel) -> None:
        self._end()

    def _on_close(self, _channel: AbstractChannel | None, _error: BaseException | None) -> None:
        self._end()

    def _end(self) -> None:
        self._ended.set()
        if self._sender is not None:
            self._sender.cancel()

    def _send_soon(self) -> None:
        if self._sender is None and self._acks and not self._ended.is_set():
            self._sender = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._acks:
                acks, self._acks = sorted(self._acks), []
                await self._write(acks)
        except LOST as error:
            # The channel is gone, and the broker delivers again what was acked here in vain.
            _log.debug("acks were lost with their channel: %r", error)
        finally:
            self._sender = None

    async def _write(self, acks: list[int]) -> None:
        raw = self._raw
        if raw is None:
            return
        run = self._lowest_run(set(acks))
        for tag in acks:
            self._open_tags.pop(tag, None)
        if run:
            await raw.basic_ack(run[-1], multiple=len(run) > 1, wait=False)
        for tag in acks[len(run) :]:
            await raw.basic_ack(tag, wait=False)

    def _lowest_run(self, acked: set[int]) -> list[int]:
        """The acked tags that have nothing unsettled below them."""
        run = []
        for tag in self._open_tags:
            if tag not in acked:
                break
            run.append(tag)
        return run
