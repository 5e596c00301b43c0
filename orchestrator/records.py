"""Runs and facts as rows, and back."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import orjson

from orchestrator.facts import Fact
from orchestrator.run import Run

__all__ = ["changed_row", "fact_row", "load_run", "new_row"]

# What ``runs.state`` holds: everything of a run that has no column of its own.
_STATE = (
    "active",
    "results",
    "undo",
    "arrived",
    "kept",
    "held",
    "pivoted",
    "backward",
    "undone",
    "paused",
    "reruns",
    "answer_to",
    "traceparent",
    "parent",
)

_state_of = attrgetter(*_STATE)


def new_row(run: Run) -> dict[str, Any]:
    """The whole row of a run that is new."""
    return {
        **changed_row(run),
        "partition": run.partition,
        "workspace": run.workspace,
        "flow": run.flow,
        "key": run.key,
        "correlation": run.correlation,
        "input": _json(run.input),
        "input_digest": run.input_digest,
        "start_id": run.start_id,
        "linked_from": run.linked_from,
        "parent": run.parent["run_id"] if run.parent else None,
        "created_at": run.created_at,
    }


def changed_row(run: Run) -> dict[str, Any]:
    """The columns that can change."""
    return {
        "id": run.id,
        "version": run.version,
        "status": run.status,
        "state": _json(dict(zip(_STATE, _state_of(run), strict=True))),
        "seq": run.seq,
        "busy": int(run.busy),
        "waiting": run.waiting(),
        "result": _json(run.result) if run.result is not None else None,
        "error": _json(run.error) if run.error is not None else None,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
    }


def fact_row(run: Run, fact: Fact) -> dict[str, Any]:
    """A fact as a row of the history."""
    return {
        "run_id": run.id,
        "seq": fact.seq,
        "type": fact.type,
        "node": fact.node,
        "at": fact.at,
        "data": _json(fact.data),
        "run_created_at": run.created_at,
    }


def load_run(row: Mapping[str, Any]) -> Run:
    """The run that a row holds."""
    return Run(
        id=row["id"],
        partition=row["partition"],
        workspace=row["workspace"],
        flow=row["flow"],
        version=row["version"],
        key=row["key"],
        correlation=row["correlation"],
        input=orjson.loads(row["input"]),
        input_digest=row["input_digest"],
        start_id=row["start_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        linked_from=row["linked_from"],
        status=row["status"],
        seq=row["seq"],
        ended_at=row["ended_at"],
        result=orjson.loads(row["result"]) if row["result"] is not None else None,
        error=orjson.loads(row["error"]) if row["error"] is not None else None,
        **orjson.loads(row["state"]),
    )


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
