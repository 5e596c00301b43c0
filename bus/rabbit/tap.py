"""aio-pika's connection with a tap on its socket, for the frames that there are many of.

The connection, its channels, heartbeats and errors stay aio-pika's and aiormq's. But of a channel that has a
``Lane``, deliveries, returns and confirms go straight to it, many in one read, instead of through two
queues and a task for each; and whatever lanes send in one turn of the event loop is one write. aiormq takes a
transport of one's own (``transport_factory``); the tap is its stream reader.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable
from ssl import SSLContext
from typing import Any, SupportsIndex

from aio_pika import Connection
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from bus.rabbit.frames import (
    BLOCKED,
    CLOSE,
    CLOSE_OK,
    CONTENT_BODY,
    CONTENT_HEADER,
    DELIVER,
    END,
    HEARTBEAT,
    METHOD,
    RETURN,
    UNBLOCKED,
)

__all__ = ["Lane", "TappedConnection"]

_head = struct.Struct(">BHI").unpack_from
_size = struct.Struct(">Q").unpack_from
_CLOSING = (CLOSE, CLOSE_OK)
_WITH_CONTENT = (DELIVER, RETURN)
_FRAME_TYPES = b"\x01\x02\x03\x08"
_SIGN_OF_LIFE = 1.0  # seconds between heartbeats that stand for frames which aiormq did not see


class Lane:
    """What the tap takes of one channel: the methods ``takes``, with their content.

    ``number``: the channel's. ``usable`` is cleared when a close of the channel goes by, in its place among
    what the broker sent: a frame on a channel that is gone would close the whole connection.
    """

    takes: frozenset[int] = frozenset()

    def __init__(self, number: int) -> None:
        self.number = number
        self.usable = True
        self._method: bytes | None = None
        self._header = b""
        self._missing = 0
        self._pieces: list[bytes] = []

    def on_method(self, method: int, payload: bytes) -> None:
        """A method without content."""

    def on_content(self, method: bytes, header: bytes, body: bytes) -> None:
        """A delivery or a return: the payloads of its method and its content header, and its content."""

    def take(self, kind: int, payload: bytes) -> bool:
        """Whether this frame was for the lane; else it is aiormq's."""
        if kind == METHOD:
            method = int.from_bytes(payload[:4])
            if method not in self.takes:
                if method in _CLOSING:
                    self.usable = False
                return False
            if method in _WITH_CONTENT:
                self._method = payload
            else:
                self.on_method(method, payload)
            return True
        if self._method is None or kind not in (CONTENT_HEADER, CONTENT_BODY):
            return False
        if kind == CONTENT_HEADER:
            self._header, self._pieces = payload, []
            (self._missing,) = _size(payload, 4)
        else:
            self._pieces.append(payload)
            self._missing -= len(payload)
        if self._missing <= 0:
            method_payload, self._method = self._method, None
            pieces = self._pieces
            self.on_content(method_payload, self._header, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return True


class _Blocking(Lane):
    """Watches the connection itself: aiormq shows in no public way whether the broker blocks publishes."""

    def __init__(self) -> None:
        super().__init__(0)
        self.blocked = False

    def take(self, kind: int, payload: bytes) -> bool:
        """Never: all of it is aiormq's."""
        if kind == METHOD and (method := int.from_bytes(payload[:4])) in (BLOCKED, UNBLOCKED):
            self.blocked = method == BLOCKED
        return False


class _Tap(asyncio.StreamReader):
    """The stream reader of one connection: hands the frames of lanes to them, and all others on to aiormq."""

    def __init__(self, lanes: dict[int, Lane], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._lanes = lanes
        self._loop_time = loop.time
        self._rest = b""
        self._seen_alive = 0.0
        self._raw = False

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """What came from the socket: any number of frames, the last one in part."""
        if self._raw:
            super().feed_data(data)
            return
        came = self._rest + bytes(data) if self._rest else bytes(data)
        others, at = self._share_out(came)
        self._rest = came[at:]
        if others:
            super().feed_data(others)
        elif at and self._loop_time() - self._seen_alive > _SIGN_OF_LIFE:
            # The broker sends no heartbeat while it sends anything else, and aiormq counts what it sees.
            self._seen_alive = self._loop_time()
            super().feed_data(HEARTBEAT)

    def feed_eof(self) -> None:
        """The broker sends no more: aiormq sees what was left of a frame, and says so."""
        if self._rest:
            rest, self._rest = self._rest, b""
            super().feed_data(rest)
        super().feed_eof()

    def _share_out(self, data: bytes) -> tuple[bytes, int]:
        """The frames that are no lane's, and how far whole frames went."""
        lanes, at, end = self._lanes, 0, len(data)
        others: list[bytes] = []
        while end - at >= 7:
            kind, channel, size = _head(data, at)
            stop = at + size + 8
            if kind not in _FRAME_TYPES or (stop <= end and data[stop - 1] != END):
                # No AMQP, or no frame: aiormq says what is wrong with it.
                self._raw = True
                return b"".join(others) + data[at:], end
            if stop > end:
                break
            lane = lanes.get(channel)
            if lane is None or not lane.take(kind, data[at + 7 : stop - 1]):
                others.append(data[at:stop])
                if lane is not None and not lane.usable:
                    del lanes[channel]  # aiormq may give its number to another channel now
            at = stop
        return b"".join(others), at


class _Tapping(TransportFactory):
    """Opens the socket with the tap on it."""

    def __init__(self, lanes: dict[int, Lane], opened: Callable[[asyncio.StreamWriter], None]) -> None:
        self._lanes = lanes
        self._opened = opened

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See aiormq. Raises AMQPConnectionError."""
        provider = kwargs.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = _Tap(self._lanes, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, url.host or "", url.port or 0, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self._opened(writer)
        return reader, writer


class TappedConnection(Connection):
    """A connection of aio-pika's whose channels may have lanes."""

    def __init__(self, url: URL, *, ssl_context: SSLContext | None = None, **kwargs: Any) -> None:
        super().__init__(url, ssl_context=ssl_context, **kwargs)
        self._blocking = _Blocking()
        self._lanes: dict[int, Lane] = {0: self._blocking}
        self._writer: asyncio.StreamWriter | None = None
        self._going_out: list[bytes] = []
        self.kwargs["transport_factory"] = _Tapping(self._lanes, self._on_opened)

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it takes no publishes for now (Connection.Blocked)."""
        return self._blocking.blocked

    def add_lane(self, lane: Lane) -> None:
        """From now on, until its channel closes, the frames that it takes are the lane's."""
        self._lanes[lane.number] = lane

    def send(self, frames: list[bytes]) -> None:
        """Write whole frames, together with whatever else is sent in this turn of the event loop."""
        if not self._going_out:
            self.loop.call_soon(self.flush)
        self._going_out += frames

    def flush(self) -> None:
        """Write now what was sent."""
        frames, self._going_out = self._going_out, []
        if frames and self._writer is not None and not self._writer.is_closing():
            self._writer.write(b"".join(frames))

    async def drain(self) -> None:
        """Return once the broker has taken most of what was sent. Raises ConnectionError."""
        self.flush()
        if self._writer is not None:
            await self._writer.drain()

    def _on_opened(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
