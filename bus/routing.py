"""How a message finds its queues: the exchanges of the house, and topic patterns."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from bus.port import COMMANDS, DIRECT, EVENTS, PARTITIONS, Binding, Outgoing, Queue
from contracts.errors import ConfigurationError

__all__ = [
    "EXCHANGES",
    "LONGEST_DELAY",
    "LONGEST_NAME",
    "check_outgoing",
    "check_queue",
    "matches",
    "misrouted",
]

# Every exchange that start() declares, and its AMQP type. DIRECT is the broker's own.
EXCHANGES: Mapping[str, str] = MappingProxyType({EVENTS: "topic", COMMANDS: "direct", PARTITIONS: "direct"})

LONGEST_DELAY = 30 * 24 * 3600.0  # seconds; a broker can't count beyond 49 days, and timers are the journal's

PLATFORM = "antiphon."  # what types of the platform's own messages begin with

LONGEST_NAME = 255  # bytes; AMQP 0-9-1 section 4.2.5.3: a short string


def matches(binding: Binding, routing_key: str) -> bool:
    """Whether a binding wants a routing key; ``*`` is one word, ``#`` any number (RabbitMQ topics)."""
    if EXCHANGES[binding.exchange] == "direct":
        return binding.pattern == routing_key
    return _topic(tuple(binding.pattern.split(".")), tuple(routing_key.split(".")))


@lru_cache(maxsize=4096)
def _topic(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    if not pattern:
        return not words
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return _topic(rest, words) or (bool(words) and _topic(pattern, words[1:]))
    return bool(words) and first in ("*", words[0]) and _topic(rest, words[1:])


def misrouted(exchange: str, routing_key: str, type: str) -> str | None:
    """Why a message of this type does not belong on this way; None when it does.

    An event is routed by its type; the platform's own messages travel to partitions, and nothing else does.
    """
    ours = type.startswith(PLATFORM)
    if exchange == EVENTS and (ours or routing_key != type):
        return f"{type!r} was published to {exchange} with routing key {routing_key!r}, not with its type"
    if exchange == PARTITIONS and not (ours and routing_key.isdecimal()):
        return f"{type!r} is no message for partition {routing_key!r}"
    if exchange == COMMANDS and ours:
        return f"{type!r} is no command"
    return None


def check_outgoing(outgoing: Outgoing) -> None:
    """Raises ConfigurationError when no broker could ever carry it as asked."""
    if outgoing.exchange != DIRECT and outgoing.exchange not in EXCHANGES:
        raise ConfigurationError(
            f"message {outgoing.message.id!r} is for exchange {outgoing.exchange!r}, which does not exist; "
            f"use one of {', '.join(EXCHANGES)} or DIRECT"
        )
    if not 0 <= outgoing.delay <= LONGEST_DELAY or (outgoing.delay and outgoing.exchange != DIRECT):
        raise ConfigurationError(
            f"message {outgoing.message.id!r} has delay {outgoing.delay}: only a message for DIRECT "
            f"can be delayed, by 0 to {LONGEST_DELAY:.0f} seconds"
        )
    _short(outgoing.routing_key, "routing key")
    _short(outgoing.message.id, "message id")
    for name, value in outgoing.message.headers.items():
        _short(name, "header name")
        if type(value) is str:
            continue
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ConfigurationError(
                f"message {outgoing.message.id!r} has header {name!r} of type {type(value).__name__}; "
                "a header is text or a whole number"
            )
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigurationError(f"header {name!r} of {outgoing.message.id!r} does not fit in 64 bits")


def check_queue(queue: Queue) -> None:
    """Raises ConfigurationError when the name or a binding can't be."""
    if not queue.name:
        raise ConfigurationError("a queue needs a name")
    _short(f"{queue.name}.dead", "queue name")
    for binding in queue.bindings:
        if binding.exchange not in EXCHANGES:
            raise ConfigurationError(
                f"queue {queue.name!r} binds to exchange {binding.exchange!r}; "
                f"it must be one of {', '.join(EXCHANGES)}"
            )
        _short(binding.pattern, "binding pattern")


def _short(text: str, what: str) -> None:
    if len(text) > LONGEST_NAME or not (text.isascii() or len(text.encode()) <= LONGEST_NAME):
        raise ConfigurationError(f"{what} {text[:40]!r}... is longer than {LONGEST_NAME} bytes")
