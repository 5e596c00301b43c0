"""Reads from RabbitMQ whatever a publisher wrote, so that one message can't close everybody's connection.

AMQP 0-9-1 (§4.2.5.3) calls short strings UTF-8, and the broker passes on whatever bytes are there. pamqp
raises for a property, a routing key or a header's name that is none; aiormq then closes the connection, the
broker hands the message to the next consumer, and so on: nobody gets past it. The same is true of times
beyond the calendar and of tables that don't add up. Read leniently, they arrive and end in quarantine.
"""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

from pamqp import decode

__all__ = ["UNREADABLE", "read_anything"]

UNREADABLE = "x-antiphon-unreadable"  # the one header of a message whose headers could not be read
_MOST_SHOWN = 2_000  # bytes of headers that could not be read

# What pamqp raises for bytes that it can't read; RecursionError is for tables in tables in tables.
_UNREAD = (ValueError, OverflowError, OSError, LookupError, TypeError, struct.error, RecursionError)

_table = decode.field_table
_timestamp = decode.timestamp


def read_anything() -> None:
    """Make pamqp read leniently, in this process; again is harmless."""
    decode.METHODS.update(shortstr=_read_short, table=_read_table, timestamp=_read_time)
    decode.TABLE_MAPPING[b"T"] = _read_time


def _read_short(value: bytes) -> tuple[int, str]:
    """A short string: one byte of length, then text; bytes that are no UTF-8 are shown as \\xNN."""
    if not value:
        raise ValueError("a short string has no length")
    end = 1 + value[0]
    return end, value[1:end].decode("utf-8", "backslashreplace")


def _read_time(value: bytes) -> tuple[int, datetime | int]:
    """A time in whole seconds since the epoch; the number itself where no calendar has it."""
    try:
        return _timestamp(value)
    except _UNREAD:
        return 8, int.from_bytes(value[:8])


def _read_table(value: bytes) -> tuple[int, dict[str, Any]]:
    """A table; one that can't be read is a single header that shows its bytes."""
    try:
        return _table(value)
    except _UNREAD:
        end = 4 + int.from_bytes(value[:4])
        return end, {UNREADABLE: value[4:end][:_MOST_SHOWN].decode("utf-8", "backslashreplace")}
