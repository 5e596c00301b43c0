"""What the partitions of one process share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bus.port import Bus
from orchestrator.announcer import Announcer
from orchestrator.beat import Beat
from orchestrator.catalog import Catalog
from orchestrator.clock import StoreClock
from orchestrator.executor import Executor
from orchestrator.journal import Journal
from orchestrator.proofs import Proofs
from orchestrator.turn import Rules

__all__ = ["Shop"]


@dataclass(frozen=True, slots=True)
class Shop:
    """Made once for a process; each partition gets it."""

    bus: Bus
    journal: Journal
    proofs: Proofs
    catalog: Catalog
    rules: Rules
    executor: Executor
    announcer: Announcer
    clock: StoreClock
    beat: Beat
    valid: Callable[[], bool]  # whether the leases certainly hold
    partitions: int
    prefetch: int
