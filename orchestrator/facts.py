"""Facts: what happened to a run, in the past tense. A history is nothing else.

A run's state is the fold of its facts (``orchestrator.run``), so nothing that matters may be left out
of their data.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from contracts.record import record

__all__ = ["ENDINGS", "Fact", "received"]

# The facts that end a run, and the status that they leave.
ENDINGS = {
    "run_completed": "completed",
    "run_failed": "failed",
    "run_compensated": "compensated",
    "run_cancelled": "cancelled",
}


def received(type: str) -> str:
    """What a history calls the arrival of an event of this type; a signal is an event of its own kind."""
    return "signal_received" if type.startswith("signal:") else "event_received"


@record
class Fact:
    """One entry of a history. ``seq`` counts from 1 in its run; ``at`` is seconds since the epoch."""

    seq: int
    type: str
    node: str | None
    at: float
    data: dict[str, Any] = field(default_factory=dict)
