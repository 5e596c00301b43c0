"""One message in one queue, as the embedded bus remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from bus.port import Message

__all__ = ["Cache", "Record", "message_of_row", "row_of_record"]

_OVERHEAD = 400  # bytes that a message costs in memory beside its body and headers, about


@dataclass(slots=True, eq=False)
class Record:
    """``handed`` counts how often it was handed out. ``inherited``: an earlier process left it.

    ``message`` is None while only the database has it.
    """

    seq: int
    queue: str
    exchange: str
    routing_key: str
    available_at: float
    handed: int = 0
    inherited: bool = False
    message: Message | None = None
    cost: int = 0


class Cache:
    """Keeps messages in memory up to ``most`` bytes, so that a long backlog is not all in memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0

    def keep(self, record: Record, message: Message) -> None:
        """Attach the message to its record, if there is room."""
        cost = len(message.body) + _OVERHEAD + 80 * len(message.headers)
        if self._used + cost <= self._most:
            self._used += cost
            record.cost = cost
            record.message = message

    def drop(self, record: Record) -> None:
        """The record is done: its room is free."""
        self._used -= record.cost
        record.cost = 0
        record.message = None


def row_of_record(record: Record, message: Message) -> tuple[Any, ...]:
    """The row of ``bus_messages``, in the order of its columns."""
    return (
        record.seq,
        record.queue,
        record.exchange,
        record.routing_key,
        record.available_at,
        record.handed,
        message.id,
        message.content_type,
        orjson.dumps(dict(message.headers)),
        message.body,
    )


def message_of_row(row: Mapping[Any, Any]) -> Message:
    """The message of a row of ``bus_messages``."""
    headers = orjson.loads(row["headers"])
    return Message(id=row["id"], body=row["body"], content_type=row["content_type"], headers=headers)
