"""The port of the bus: what carries messages, and what each adapter promises.

Everything works on batches, because what costs is the work per message: confirms, acks and socket
writes are shared by whoever is there at the same moment. One suite, ``tests/bus``, holds both
adapters to every sentence below.

*Publishing*
    Returns only when the broker has each message on disk. A message that reached no queue, was
    refused, or got no confirm in time raises PublishFailed, which says for each message what
    happened; publishing again with the same id is always right (consumers stop duplicates).
*Consuming*
    At least once. What is not settled when its subscription or process ends is delivered again,
    with ``deliveries`` counted up. Settling after a reconnect is silently ignored, since the broker
    delivers again (a tag dies with its channel). A subscription survives the loss of its
    connection: ``receive`` just waits.
*Order*
    A queue with ``single_active`` hands its messages to one subscription at a time, in the order in
    which they were confirmed; when it goes, the next one takes over.
*Delay*
    A delayed message is durable while it waits. It may arrive later than asked (by up to half of the
    delay: delays are rounded up to tiers), never earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from contracts.errors import ContractError
from contracts.record import record

__all__ = [
    "COMMANDS",
    "DIRECT",
    "EVENTS",
    "PARTITIONS",
    "Binding",
    "Bus",
    "Delivery",
    "Message",
    "Outgoing",
    "Queue",
    "QueueStats",
    "Subscription",
]

# The exchanges of the house. ``EVENTS`` is a topic exchange, routed by event type; the others are
# direct. ``DIRECT`` is the broker's default exchange: its routing key is a queue's name.
EVENTS = "antiphon.events"
COMMANDS = "antiphon.commands"
PARTITIONS = "antiphon.partitions"
DIRECT = ""


@record
class Message:
    """What travels: bytes with headers. ``id`` is unique per source and survives a repeat.

    ``attributes``: those of CloudEvents that the headers hold, where somebody has read them before.
    """

    id: str
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str | int] = field(default_factory=dict)
    attributes: Mapping[str, str] | None = field(default=None, compare=False, repr=False)


@record
class Outgoing:
    """A message and where it goes. ``delay`` is in seconds and only for ``DIRECT``."""

    message: Message
    routing_key: str
    exchange: str = DIRECT
    delay: float = 0.0
    mandatory: bool = True


@dataclass(frozen=True, slots=True)
class Binding:
    """Which messages of an exchange a queue gets; ``pattern`` knows ``*`` and ``#`` on ``EVENTS``."""

    exchange: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue. What is refused for good goes to ``<name>.dead``.

    ``single_active``: one subscription at a time gets the messages, in order. ``delays``: how long messages
    for it will wait that are delayed, as (shortest, longest) in seconds; others may wait too, but what these
    need is made with the queue.
    """

    name: str
    bindings: tuple[Binding, ...] = ()
    single_active: bool = False
    delays: tuple[tuple[float, float], ...] = ()


@record(eq=False)
class Delivery:
    """One message in hand, not settled yet.

    ``deliveries`` counts how often the broker handed it out before and got it back; 0 the first
    time. ``token`` belongs to the adapter. ``refusal``: why it must not be handled, where signatures are
    verified (``bus.signed``) and this one does not hold; it belongs into quarantine, undecoded.
    ``user``: which of the broker's users published it, where that said so; the broker has checked it.
    """

    message: Message
    queue: str
    exchange: str
    routing_key: str
    deliveries: int
    token: object
    refusal: ContractError | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How a queue stands. ``oldest`` is the age in seconds of its oldest ready message, where known."""

    ready: int
    unsettled: int | None
    consumers: int
    oldest: float | None


class Subscription(Protocol):
    """A consumer of one queue."""

    async def receive(self, most: int) -> list[Delivery]:
        """Wait for at least one delivery and return what is there, ``most`` at the most.

        Returns the empty list once the subscription is closed.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Done: forget these."""
        ...

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give these back to the front of the queue, to be delivered again (counted)."""
        ...

    async def reject(self, deliveries: Sequence[Delivery]) -> None:
        """Refuse these for good: they go to the queue's ``.dead`` queue."""
        ...

    async def close(self) -> None:
        """Stop receiving, and give back what was received and not settled."""
        ...


class Bus(Protocol):
    """Carries messages. One per process; safe to use from many tasks."""

    async def start(self) -> None:
        """Connect, and declare the exchanges. Raises BusUnavailable after the connect timeout."""
        ...

    async def close(self) -> None:
        """Close every subscription, flush what is being published, disconnect."""
        ...

    async def declare(self, *queues: Queue) -> None:
        """Make queues and bindings; again is harmless. A queue made here exists from then on.

        Raises ConfigurationError when a queue exists with other arguments.
        """
        ...

    async def publish(self, *outgoing: Outgoing, timeout: float | None = None) -> None:
        """Publish and wait until all are confirmed. ``timeout`` in seconds; None is the setting.

        Raises PublishFailed with a reason for each message that was not confirmed.
        """
        ...

    async def subscribe(self, queue: str, *, prefetch: int) -> Subscription:
        """Consume a declared queue, with at most ``prefetch`` messages unsettled."""
        ...

    async def stats(self, queue: str) -> QueueStats:
        """How a declared queue stands now."""
        ...

    async def purge(self, queue: str) -> int:
        """Drop what is ready in a queue; how many those were. For tests and for operators."""
        ...

    @property
    def state(self) -> str:
        """``connected``, ``blocked`` (the broker refuses publishes for now) or ``disconnected``."""
        ...
