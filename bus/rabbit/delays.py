"""Delay tiers: where a message waits that is not to arrive yet.

RabbitMQ expires a queue from its head, so messages with different delays can't share a queue: a long one
would hold up the short ones behind it. Each tier is a queue with one time-to-live, and tiers grow by
half, so that a delay rounded up to its tier is at most half too long. A message goes in through a fanout
exchange with its target queue as the routing key, and when its time is up the broker dead-letters it
through the default exchange, which routes by that same key.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from bus.rabbit.names import delay_prefix
from bus.routing import LONGEST_DELAY

__all__ = ["delay_name", "tier_of", "tiers_of"]

_SHORTEST = 50  # milliseconds; below that a broker's own latency counts for more
_LONGEST = 31 * 24 * 3600 * 1000  # milliseconds; above bus.routing.LONGEST_DELAY


def _make_tiers() -> tuple[int, ...]:
    tiers = [_SHORTEST]
    while tiers[-1] < _LONGEST:
        tiers.append(tiers[-1] * 3 // 2)
    return tuple(tiers)


_TIERS = _make_tiers()


def tier_of(delay: float) -> int:
    """The tier, in milliseconds, of a delay in seconds: the smallest that is not shorter."""
    return _TIERS[bisect.bisect_left(_TIERS, delay * 1000)]


def tiers_of(delays: Iterable[tuple[float, float]]) -> list[int]:
    """Every tier that delays of these spans (shortest, longest; in seconds) may need.

    What is to wait for longer than a message can, waits several times.
    """
    bounded = ((min(least, LONGEST_DELAY), min(most, LONGEST_DELAY)) for least, most in delays)
    spans = ((bisect.bisect_left(_TIERS, least * 1000), tier_of(most)) for least, most in bounded)
    return sorted({tier for first, last in spans for tier in _TIERS[first:] if tier <= last})


def delay_name(milliseconds: int, user: str | None = None) -> str:
    """The name of a tier's exchange, and of its queue; ``user`` has its own (``bus.rabbit.names``)."""
    return f"{delay_prefix(user)}{milliseconds}ms"
