"""What the API answers, for the OpenAPI document, and the functions that make it.

The models document; the answers are plain dicts made by the functions below, which is faster, and
``tests/gateway`` holds the two together.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from contracts.envelope import timestamp
from gateway.queries.history import Fact
from gateway.queries.runs import Run, RunSummary

__all__ = [
    "Accepted",
    "FactView",
    "HistoryView",
    "RunList",
    "RunView",
    "accepted_view",
    "fact_view",
    "optional_time",
    "run_links",
    "run_view",
]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunView(_Shape):
    """A run. Lists leave out ``input`` and ``result``."""

    id: str
    flow: str
    version: int | None = Field(description="None while the run is accepted and not started yet")
    key: str
    correlation: str
    status: str = Field(description="accepted, or one of the statuses of a run")
    waiting: str | None = Field(description="Why it does not move right now, in words")
    error: dict[str, Any] | None = None
    linked_from: str | None = Field(default=None, description="The run that this one was made from")
    parent: str | None = Field(default=None, description="The run that called this one")
    created_at: str | None
    updated_at: str | None
    ended_at: str | None
    input: Any = None
    result: Any = None
    links: dict[str, str]


class RunList(_Shape):
    """A page of runs; ``next`` is the cursor to the next page."""

    items: list[RunView]
    next: str | None


class FactView(_Shape):
    """One fact of a run's history."""

    seq: int
    type: str
    node: str | None
    at: str
    data: Any


class HistoryView(_Shape):
    """Facts of a run, in order; ``next`` is the number to ask for ``after`` when there may be more."""

    run: str
    items: list[FactView]
    next: int | None


class Accepted(_Shape):
    """What was asked is durable on the bus, and will be done."""

    run: str
    accepted: str = Field(description="signal, cancel, retry, pause, resume or migrate")
    id: str | None = Field(default=None, description="The message's id: the same for a repeat")
    links: dict[str, str]


def run_links(run_id: str, correlation: str | None = None) -> dict[str, str]:
    """Where to go on from a run."""
    links = {"self": f"/runs/{run_id}", "history": f"/runs/{run_id}/history"}
    if correlation is not None:
        links["story"] = f"/stories/{quote(correlation, safe='')}"
    return links


def run_view(run: RunSummary) -> dict[str, Any]:
    """A run as the API shows it (RunView)."""
    view: dict[str, Any] = {
        "id": run.id,
        "flow": run.flow,
        "version": run.version,
        "key": run.key,
        "correlation": run.correlation,
        "status": run.status,
        "waiting": run.waiting,
        "error": run.error,
        "linked_from": run.linked_from,
        "parent": run.parent,
        "created_at": timestamp(run.created_at),
        "updated_at": timestamp(run.updated_at),
        "ended_at": optional_time(run.ended_at),
    }
    if isinstance(run, Run):
        view["input"] = run.input
        view["result"] = run.result
    view["links"] = run_links(run.id, run.correlation)
    return view


def accepted_view(
    run_id: str,
    flow: str,
    key: str,
    correlation: str,
    *,
    status: str = "accepted",
    version: int | None = None,
    waiting: str | None = None,
    at: float | None = None,
) -> dict[str, Any]:
    """A run of which no more is known here than that it was accepted (RunView)."""
    return {
        "id": run_id,
        "flow": flow,
        "version": version,
        "key": key,
        "correlation": correlation,
        "status": status,
        "waiting": waiting,
        "error": None,
        "linked_from": None,
        "parent": None,
        "created_at": optional_time(at),
        "updated_at": optional_time(at),
        "ended_at": None,
        "links": run_links(run_id, correlation),
    }


def fact_view(fact: Fact) -> dict[str, Any]:
    """A fact as the API shows it (FactView)."""
    return {
        "seq": fact.seq,
        "type": fact.type,
        "node": fact.node,
        "at": timestamp(fact.at),
        "data": fact.data,
    }


def optional_time(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339; None stays None."""
    return timestamp(seconds) if seconds is not None else None
