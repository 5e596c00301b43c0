"""A delivery out of its bytes: what most of them hold is read here, the unusual by pamqp, and none fails.

Whatever a publisher wrote arrives, as ``bus.rabbit.reading`` says: text that is no UTF-8 is shown as \\xNN,
values of headers that are neither text nor whole numbers become text, and headers that can't be read are one
header that shows their bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from pamqp import decode

from bus.rabbit.reading import UNREADABLE

__all__ = ["Arrival", "read_arrival", "returned_id"]

_MOST_SHOWN = 2_000  # bytes of properties that could not be read
_MILLISECONDS = 1 << 32

_long = struct.Struct(">I").unpack_from
_tag = struct.Struct(">Q").unpack_from
_flags = struct.Struct(">H").unpack_from

# What is in a table in nearly all cases (§4.2.5.5): text, and whole numbers by their width.
_TEXT = ord("S")
_NUMBERS = {
    ord(kind): (struct.Struct(form).unpack_from, struct.calcsize(form))
    for kind, form in (("b", ">b"), ("s", ">h"), ("u", ">H"), ("I", ">i"), ("i", ">I"), ("l", ">q"))
}
# What reading beyond an end or bytes that are no text raises; RecursionError is for tables in tables.
_UNREAD = (ValueError, LookupError, OverflowError, OSError, TypeError, struct.error, RecursionError)

_CONTENT_TYPE, _HEADERS, _MESSAGE_ID, _TIMESTAMP, _USER_ID = 0x8000, 0x2000, 0x0080, 0x0040, 0x0010
_SHORT, _OCTET, _LONG_LONG, _TABLE = range(4)
_PROPERTIES = (  # in the order in which they are written (§4.2.6.1)
    (_CONTENT_TYPE, _SHORT),
    (0x4000, _SHORT),  # content encoding
    (_HEADERS, _TABLE),
    (0x1000, _OCTET),  # delivery mode
    (0x0800, _OCTET),  # priority
    (0x0400, _SHORT),  # correlation id
    (0x0200, _SHORT),  # reply to
    (0x0100, _SHORT),  # expiration
    (_MESSAGE_ID, _SHORT),
    (_TIMESTAMP, _LONG_LONG),
    (0x0020, _SHORT),  # type
    (_USER_ID, _SHORT),
    (0x0008, _SHORT),  # app id
    (0x0004, _SHORT),  # cluster id
)
_plans: dict[int, tuple[tuple[int, int], ...]] = {}


@dataclass(slots=True)
class Arrival:
    """One delivery as it came; ``redelivered`` says that the broker handed it out before.

    ``published_at`` is in whole seconds since the epoch, None where nobody said it.
    """

    tag: int
    exchange: str
    routing_key: str
    redelivered: bool
    body: bytes
    headers: dict[str, str | int]
    content_type: str = ""
    message_id: str = ""
    user_id: str = ""
    published_at: int | None = None


def read_arrival(method: bytes, header: bytes, body: bytes) -> Arrival:
    """A delivery out of the payloads of its Basic.Deliver, its content header and its content."""
    at = 5 + method[4]  # behind the consumer's tag
    (tag,) = _tag(method, at)
    exchange, at_key = _short(method, at + 9)
    routing_key, _ = _short(method, at_key)
    arrival = Arrival(tag, exchange, routing_key, bool(method[at + 8] & 1), body, {})
    try:
        _read_properties(header, arrival)
    except _UNREAD:
        arrival.headers = {UNREADABLE: header[12:][:_MOST_SHOWN].decode("utf-8", "backslashreplace")}
    return arrival


def returned_id(header: bytes) -> str:
    """The id of a message that came back, out of the payload of its content header."""
    came = Arrival(0, "", "", False, b"", {})
    _read_properties(header, came)
    return came.message_id


def _read_properties(header: bytes, into: Arrival) -> None:
    """Raises what is in ``_UNREAD`` for properties that don't add up."""
    (flags,) = _flags(header, 12)
    plan = _plans.get(flags) or _plan(flags)
    at = 14
    for flag, kind in plan:
        if kind == _SHORT:
            text, at = _short(header, at)
            if flag == _CONTENT_TYPE:
                into.content_type = text
            elif flag == _MESSAGE_ID:
                into.message_id = text
            elif flag == _USER_ID:
                into.user_id = text
        elif kind == _TABLE:
            end = at + 4 + _long(header, at)[0]
            into.headers = _table(header, at, end)
            at = end
        elif kind == _OCTET:
            at += 1
        else:
            (stamp,) = _tag(header, at)
            # Above the year 2106 they are milliseconds, said by clients that know no better.
            into.published_at = stamp if stamp < _MILLISECONDS else stamp // 1000
            at += 8


def _plan(flags: int) -> tuple[tuple[int, int], ...]:
    """What follows these flags. Raises ValueError for flags that AMQP 0-9-1 doesn't have."""
    if flags & 0b11:
        raise ValueError(f"no properties have the flags {flags:#x}")
    plan = tuple((flag, kind) for flag, kind in _PROPERTIES if flags & flag)
    _plans[flags] = plan  # 2^14 at the most
    return plan


def _short(data: bytes, at: int) -> tuple[str, int]:
    """A short string and where it ends. Raises IndexError behind the end."""
    end = at + 1 + data[at]
    if end > len(data):
        raise IndexError("a text goes on behind its frame")
    return data[at + 1 : end].decode("utf-8", "backslashreplace"), end


def _table(data: bytes, at: int, end: int) -> dict[str, str | int]:
    """A table. Raises RecursionError for tables in tables, where even their text has no floor."""
    try:
        return _plain_table(data, at + 4, end)
    except _UNREAD:
        headers: Any = decode.by_type(data[at:end], "table")[1]  # leniently: see bus.rabbit.reading
        return {name: _plain(value) for name, value in headers.items()}


def _plain(value: Any) -> str | int:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    return str(value)


def _plain_table(data: bytes, at: int, end: int) -> dict[str, str | int]:
    """A table of texts and numbers. Raises what is in ``_UNREAD`` for any other."""
    headers: dict[str, str | int] = {}
    while at < end:
        name_end = at + 1 + data[at]
        name = data[at + 1 : name_end].decode()
        kind = data[name_end]
        at = name_end + 1
        if kind == _TEXT:
            start = at + 4
            at = start + _long(data, at)[0]
            headers[name] = data[start:at].decode()
        else:
            unpack, width = _NUMBERS[kind]
            (headers[name],) = unpack(data, at)
            at += width
    if at != end:
        raise ValueError("a table does not end where it says")
    return headers
