"""What is refused for good: the name of its queue, and the copy that goes there."""

from __future__ import annotations

from dataclasses import replace

from bus.port import Delivery, Message, Outgoing

__all__ = [
    "DEAD_DELIVERIES",
    "DEAD_EXCHANGE",
    "DEAD_HEADERS",
    "DEAD_QUEUE",
    "DEAD_ROUTING_KEY",
    "dead_copy",
    "dead_name",
]

# Headers of a dead message: where it was refused, how it had come there, how often it was delivered.
DEAD_QUEUE = "x-antiphon-queue"
DEAD_EXCHANGE = "x-antiphon-exchange"
DEAD_ROUTING_KEY = "x-antiphon-routing-key"
DEAD_DELIVERIES = "x-antiphon-deliveries"
DEAD_HEADERS = frozenset({DEAD_QUEUE, DEAD_EXCHANGE, DEAD_ROUTING_KEY, DEAD_DELIVERIES})


def dead_name(queue: str) -> str:
    """The queue for what ``queue`` refuses. A dead queue is its own: there is nowhere further down."""
    return queue if queue.endswith(".dead") else f"{queue}.dead"


def dead_copy(delivery: Delivery) -> Outgoing:
    """The same message, id and all, on its way to the dead queue with the story of its end."""
    message: Message = delivery.message
    told: dict[str, str | int] = {
        DEAD_QUEUE: delivery.queue,
        DEAD_EXCHANGE: delivery.exchange,
        DEAD_ROUTING_KEY: delivery.routing_key,
        DEAD_DELIVERIES: delivery.deliveries + 1,
    }
    # A message refused again from the dead queue keeps the story of its first end.
    headers = {**told, **message.headers} if DEAD_QUEUE in message.headers else {**message.headers, **told}
    return Outgoing(replace(message, headers=headers), routing_key=dead_name(delivery.queue))
