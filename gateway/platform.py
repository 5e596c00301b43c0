"""What the gateway stands on: everything is handed in, nothing is reached for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bus.port import Bus
from contracts.registry import Registry
from orchestrator.client import Client
from orchestrator.flow import Flow
from reactors.reactor import Reactor
from reactors.service import Service
from store.database import Database
from store.live.port import Live

__all__ = ["Platform"]


def _random_id() -> str:
    # An id, not a secret: it must be unique only, and asking the system for each costs more than all else.
    return f"{random.getrandbits(104):026x}"


@dataclass(frozen=True)
class Platform:
    """The rooms below the gateway, and its limits.

    ``flows`` maps a flow's name to its versions. ``queues`` are the queues shown in ``/metrics`` and
    on the dashboard besides those of ``reactors`` and ``services``. ``dev_key`` is the path of the
    file with the development key, where there is one. ``start_wait`` is how long a start waits for its
    owner's answer, ``longest_wait`` how long ``Prefer: wait`` may ask for. Sizes are in bytes, times in
    seconds.
    """

    database: Database
    bus: Bus
    live: Live
    registry: Registry
    client: Client
    incarnation: str
    flows: Mapping[str, Sequence[Flow]]
    reactors: Sequence[Reactor] = ()
    services: Sequence[Service] = ()
    workspace: str = "default"
    app_name: str = "antiphon"
    queues: tuple[str, ...] = ()
    max_body_bytes: int = 1_048_576
    max_depth: int = 64
    requests_per_second: float = 5_000.0
    request_burst: float = 10_000.0
    max_streams: int = 500
    max_waiting: int = 2_000
    max_unstarted: int = 10_000
    longest_unstarted: float = 20.0
    longest_wait: float = 30.0
    start_wait: float = 5.0
    key_cache_seconds: float = 2.0
    open_metrics: bool = False
    dev_key: str | None = None
    clock: Callable[[], float] = field(default=time.time)
    random_id: Callable[[], str] = field(default=_random_id)

    def flow(self, name: str) -> Flow | None:
        """The newest version of a flow; None when there is none of that name."""
        versions = self.flows.get(name)
        return max(versions, key=lambda flow: flow.version) if versions else None

    def subscriptions(self) -> dict[str, tuple[str, ...]]:
        """Which reactors react to each event type, by name; to older ones that are carried over, too."""
        found: dict[str, list[str]] = {}
        for reactor in self.reactors:
            for type in (*reactor.types, *reactor.older):
                found.setdefault(type, []).append(reactor.name)
        return {type: tuple(names) for type, names in found.items()}

    def watched_queues(self) -> tuple[str, ...]:
        """The queues whose depth and age are shown."""
        return (
            *(f"reactor.{reactor.name}" for reactor in self.reactors),
            *(f"service.{service.name}" for service in self.services),
            *self.queues,
        )
