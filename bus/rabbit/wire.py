"""From our messages to AMQP properties and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from bus.port import Message

__all__ = ["deliveries_of", "message_from", "properties_of", "published_at", "was_delayed"]

_PERSISTENT = 2
# What brokers write into headers when they dead-letter or redeliver; no part of the message.
_BROKERS_OWN = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_APP_ID = "antiphon"


def properties_of(message: Message, now: float, user: str | None = None) -> Basic.Properties:
    """Persistent, with our id and the time of publishing (whole seconds since the epoch).

    ``user`` is who we say we are; the broker refuses another than the one who is logged in.
    """
    return Basic.Properties(
        message_id=message.id,
        content_type=message.content_type,
        delivery_mode=_PERSISTENT,
        headers=dict(message.headers),
        timestamp=datetime.fromtimestamp(now, UTC),
        app_id=_APP_ID,
        user_id=user,
    )


def message_from(delivered: DeliveredMessage, tag: int) -> Message:
    """What arrived, whoever sent it: nothing a foreign client writes may stop a consumer.

    A message without an id gets one from its place in the channel, so that it can be quarantined; headers
    that are neither text nor whole numbers are turned into text.
    """
    properties = delivered.header.properties
    headers = {
        name: _plain(value)
        for name, value in (properties.headers or {}).items()
        if not name.startswith(_BROKERS_OWN)
    }
    return Message(
        id=properties.message_id or f"no-id-{tag}",
        body=delivered.body,
        content_type=properties.content_type or "application/octet-stream",
        headers=headers,
    )


def _plain(value: Any) -> str | int:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    return str(value)


def deliveries_of(delivered: DeliveredMessage) -> int:
    """How often the broker handed it out before. Quorum queues count; at the least we know "before"."""
    headers = delivered.header.properties.headers or {}
    count = headers.get("x-delivery-count")
    known = count if isinstance(count, int) else 0
    again = isinstance(delivered.delivery, Basic.Deliver) and bool(delivered.delivery.redelivered)
    return max(known, 1 if again else 0)


def was_delayed(delivered: DeliveredMessage) -> bool:
    """Whether it came through a delay queue: then its time of publishing says nothing about its waiting."""
    return "x-death" in (delivered.header.properties.headers or {})


def published_at(delivered: DeliveredMessage) -> float | None:
    """When it was published, in seconds since the epoch, where the publisher said so."""
    at = delivered.header.properties.timestamp
    return at.timestamp() if isinstance(at, datetime) else None
