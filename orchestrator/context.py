"""What a step's function gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["StepContext"]


@dataclass(frozen=True, slots=True)
class StepContext:
    """One attempt of a step, or of its compensation.

    ``key`` is the idempotency key: the same for every attempt of this step in this run, and another
    one for its compensation. Hand it to whatever the step calls: a step runs at least once.
    ``results`` holds what the nodes before have given, by node; in a compensation, the step's own
    result is missing when its outcome is unknown.
    """

    input: Mapping[str, Any]
    results: Mapping[str, Any]
    key: str
    attempt: int
    run_id: str
    run_key: str
    workspace: str
    correlation: str
    flow: str
    node: str
    error: Mapping[str, Any] | None = None
