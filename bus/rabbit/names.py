"""The names that belong to one of the broker's users, where users may do only what their role needs.

Who may write to the default exchange may write to every queue, because the broker checks no routing key
there. So a user of a provisioned broker has an exchange of its own instead, bound to the queues that it may
put messages on, and delay tiers of its own that lead back there.
"""

from __future__ import annotations

from bus.port import DIRECT

__all__ = ["delay_prefix", "direct_name", "plain_exchange"]

_DIRECT = "antiphon.direct."
_DELAY = "antiphon.delay."


def direct_name(user: str | None) -> str:
    """The exchange by which a user reaches its queues by their names; the broker's default one for None."""
    return DIRECT if user is None else f"{_DIRECT}{user}"


def delay_prefix(user: str | None) -> str:
    """What the names of a user's delay tiers begin with."""
    return _DELAY if user is None else f"{_DELAY}{user}."


def plain_exchange(exchange: str) -> str:
    """The exchange as the port knows it: whichever way a message came straight to its queue, it is DIRECT."""
    return DIRECT if exchange.startswith(_DIRECT) else exchange
