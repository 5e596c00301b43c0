"""The few AMQP 0-9-1 frames that there are many of: a publish with its content, an ack, a confirm.

aiormq writes every frame with pamqp, argument by argument, and makes tasks and futures for each message:
that is most of what a message costs. What is sent by the thousand is written here directly, and joined with
what goes out in the same moment; ``bus.rabbit.arrivals`` is the other direction. Everything else on a
connection stays aiormq's. A frame is type (1), channel (2), size (4), payload, 0xCE (§4.2.3).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache

from pamqp import encode

__all__ = [
    "ACK",
    "BLOCKED",
    "CLOSE",
    "CLOSE_OK",
    "CONTENT_BODY",
    "CONTENT_HEADER",
    "DELIVER",
    "END",
    "HEARTBEAT",
    "METHOD",
    "NACK",
    "RETURN",
    "UNBLOCKED",
    "ack_frame",
    "content_frames",
    "publish_frame",
    "read_confirm",
]

METHOD, CONTENT_HEADER, CONTENT_BODY = 1, 2, 3  # types of frames
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
END = 0xCE

# Class and method, as the first four bytes of a method's payload.
DELIVER, RETURN = 0x003C003C, 0x003C0032
ACK, NACK = 0x003C0050, 0x003C0078
CLOSE, CLOSE_OK = 0x00140028, 0x00140029
BLOCKED, UNBLOCKED = 0x000A003C, 0x000A003D  # RabbitMQ's, of the connection

_END = bytes([END])
_HEAD = struct.Struct(">BHI").pack
_CONTENT = struct.Struct(">HHQH").pack  # class, weight, size of the body, flags of the properties
_LONG = struct.Struct(">I").pack
_TIME = struct.Struct(">Q").pack
_ACKED = struct.Struct(">BHIIQBB").pack
_CONFIRM = struct.Struct(">QB").unpack_from

# Flags of the properties (§4.2.6.1); they are written in this order.
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 0x8000, 0x2000, 0x1000
_MESSAGE_ID, _TIMESTAMP, _USER_ID, _APP_ID = 0x0080, 0x0040, 0x0010, 0x0008
_ALWAYS = _HEADERS | _DELIVERY_MODE | _TIMESTAMP | _APP_ID
_PERSISTENT = b"\x02"
_APP = b"\x08antiphon"


@lru_cache(maxsize=4096)
def publish_frame(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    """Basic.Publish: the same for all messages that go the same way. Raises ValueError."""
    payload = b"\x00\x3c\x00\x28\x00\x00" + _short(exchange) + _short(routing_key) + bytes([mandatory])
    return _HEAD(METHOD, channel, len(payload)) + payload + _END


def content_frames(
    channel: int,
    body: bytes,
    *,
    id: str,
    content_type: str,
    headers: Mapping[str, str | int],
    at: int,
    user: str | None,
    frame_max: int,
) -> list[bytes]:
    """A persistent message's header and body; ``at`` is the time of publishing, in seconds since the epoch.

    Raises ValueError for a text that is too long, or that has no bytes in UTF-8, and for headers that do not
    fit into one frame: a body can be split, they can't (AMQP 0-9-1 section 4.2.6.1).
    """
    flags = _ALWAYS
    parts = []
    if content_type:
        flags |= _CONTENT_TYPE
        parts.append(_known_short(content_type))
    parts += (_table(headers), _PERSISTENT)
    if id:
        flags |= _MESSAGE_ID
        parts.append(_short(id))
    parts.append(_TIME(at))
    if user:
        flags |= _USER_ID
        parts.append(_known_short(user))
    parts.append(_APP)
    payload = _CONTENT(60, 0, len(body), flags) + b"".join(parts)
    if 8 < frame_max < len(payload) + 8:
        raise ValueError(f"its headers take {len(payload)} bytes, and a frame has room for {frame_max - 8}")
    frames = [_HEAD(CONTENT_HEADER, channel, len(payload)), payload, _END]
    most = frame_max - 8 if frame_max > 8 else len(body)
    if len(body) <= most:
        if body:
            frames += (_HEAD(CONTENT_BODY, channel, len(body)), body, _END)
        return frames
    for start in range(0, len(body), most):
        piece = body[start : start + most]
        frames += (_HEAD(CONTENT_BODY, channel, len(piece)), piece, _END)
    return frames


def ack_frame(channel: int, tag: int, *, multiple: bool) -> bytes:
    """Basic.Ack of one delivery, or of all up to it."""
    return _ACKED(METHOD, channel, 13, ACK, tag, multiple, END)


def read_confirm(payload: bytes) -> tuple[int, bool]:
    """The tag of a Basic.Ack or Basic.Nack, and whether all below it are meant, too."""
    tag, bits = _CONFIRM(payload, 4)
    return tag, bool(bits & 1)


def _table(headers: Mapping[str, str | int]) -> bytes:
    parts: list[bytes] = []
    for name, value in headers.items():
        if type(value) is str:
            raw = value.encode()
            parts += (_text_named(name), _LONG(len(raw)), raw)
        else:
            parts += (_known_short(name), encode.table_integer(int(value)))
    table = b"".join(parts)
    return _LONG(len(table)) + table


def _short(text: str) -> bytes:
    """A short string: a byte of length, then UTF-8."""
    raw = text.encode()
    if len(raw) > 255:
        raise ValueError(f"{text[:40]!r}... is longer than 255 bytes")
    return bytes([len(raw)]) + raw


@lru_cache(maxsize=4096)
def _known_short(text: str) -> bytes:
    return _short(text)


@lru_cache(maxsize=4096)
def _text_named(name: str) -> bytes:
    """A header's name, and that text follows."""
    return _short(name) + b"S"
