"""From what arrived over AMQP to our messages."""

from __future__ import annotations

from bus.port import Message
from bus.rabbit.arrivals import Arrival
from bus.routing import LONGEST_NAME

__all__ = ["deliveries_of", "message_from", "was_delayed"]

# What brokers write into headers when they dead-letter or redeliver; no part of the message.
_BROKERS_OWN = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")

_SURE = LONGEST_NAME // 4  # bytes that are no UTF-8 are shown as four characters each


def message_from(came: Arrival) -> Message:
    """What arrived, whoever sent it: nothing a foreign client writes may stop a consumer.

    A message without an id gets one from its place in the channel, so that it can be quarantined.
    """
    headers = {name: value for name, value in came.headers.items() if not name.startswith(_BROKERS_OWN)}
    id = came.message_id or f"no-id-{came.tag}"
    if len(id) > _SURE and len(raw := id.encode()) > LONGEST_NAME:
        id = raw[:LONGEST_NAME].decode(errors="ignore")  # or it could not be sent again
    return Message(
        id,
        came.body,
        came.content_type or "application/octet-stream",
        headers,
    )


def deliveries_of(came: Arrival) -> int:
    """How often the broker handed it out before. Quorum queues count; at the least we know "before"."""
    count = came.headers.get("x-delivery-count")
    known = count if isinstance(count, int) else 0
    return max(known, 1) if came.redelivered else 0


def was_delayed(came: Arrival) -> bool:
    """Whether it came through a delay queue: then its time of publishing says nothing about its waiting."""
    return "x-death" in came.headers
