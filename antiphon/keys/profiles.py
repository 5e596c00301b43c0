"""What each role's key may say: no more than the role has to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bus.port import COMMANDS, EVENTS, PARTITIONS
from contracts.keyring import Rights

__all__ = ["DEVELOPMENT", "OPERATOR", "ROLES", "role_of"]

DEVELOPMENT = "development"
OPERATOR = "operator"

_REQUESTS = "/antiphon/orchestrator"  # the source of what is asked of a run


def _gateway(name: str) -> Rights:
    """Starts and requests to partitions, events in the name of API keys, redrives and releases anywhere."""
    return Rights.of(
        sources=["/**", "!/*/flows/**", "!/*/reactors/**", "!/services/**"],
        types=["**", "!antiphon.reply.*", "!antiphon.event.*", "!antiphon.child.*"],
        exchanges=[EVENTS, PARTITIONS],
        hops=["**"],
    )


def _orchestrator(name: str) -> Rights:
    """Commands, what flows emit, and word from run to run."""
    return Rights.of(
        sources=[_REQUESTS, "/*/flows/*"],
        types=["**", "!antiphon.reply.*"],
        exchanges=[EVENTS, COMMANDS, PARTITIONS],
        hops=["partition.*"],
    )


def _reactors(name: str) -> Rights:
    """What reactors emit, and retries on their own queues."""
    return Rights.of(
        sources=["/*/reactors/*"], types=["**", "!antiphon.**"], exchanges=[EVENTS], hops=["reactor.**"]
    )


def _service(name: str) -> Rights:
    """Replies of this service, and nothing else."""
    own = "*" if name == "services" else name
    return Rights.of(
        sources=[f"/services/{own}"],
        types=["antiphon.reply.v1"],
        exchanges=[PARTITIONS],
        hops=[f"service.{own}"],
    )


def _operator(name: str) -> Rights:
    """Nothing of its own; whatever it puts on a queue again, it vouches for."""
    return Rights.of(hops=["**"])


def _producer(name: str) -> Rights:
    """An event's producer outside the house; its sources and types are named when its key is made."""
    return Rights.of(exchanges=[EVENTS])


def _everything(name: str) -> Rights:
    """One process that is the whole house."""
    return Rights.of(sources=["/**"], types=["**"], exchanges=["**"], hops=["**"])


ROLES: Mapping[str, Callable[[str], Rights]] = {
    "gateway": _gateway,
    "orchestrator": _orchestrator,
    "reactors": _reactors,
    "service": _service,
    OPERATOR: _operator,
    "producer": _producer,
    DEVELOPMENT: _everything,
}


def role_of(name: str) -> str:
    """The role of a key by its service's name: what is called like no role is a service."""
    return name if name in ROLES and name != "producer" else "service"
