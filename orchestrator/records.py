"""Runs and facts as rows, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import orjson
import structlog

from orchestrator.facts import Fact
from orchestrator.run import Run

__all__ = [
    "CHANGED",
    "FACT",
    "MOVED",
    "NEW",
    "UNREADABLE",
    "changed_row",
    "fact_row",
    "load_run",
    "moved_row",
    "new_row",
    "read_state",
    "readable_runs",
]

log = structlog.get_logger(__name__)

# What reading a row raises that is not as it is written here: by a newer release, or by a hand.
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)

# The columns of the rows that are made here. Plain tuples: a short run is four of them, and eight facts.
CHANGED = ("version", "state", "seq", "waiting", "result", "error", "updated_at", "id")
MOVED = ("status", "busy", "ended_at", *CHANGED)  # with the standing of a run, by which it is found
NEW = (
    "partition",
    "workspace",
    "flow",
    "key",
    "correlation",
    "input",
    "input_digest",
    "start_id",
    "linked_from",
    "parent",
    "created_at",
    *MOVED,
)
FACT = ("run_created_at", "run_id", "seq", "type", "node", "at", "data")

# What ``runs.state`` holds, as far as it says anything: everything of a run that has no column of its own.
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
    "let_on",
    "answer_to",
    "traceparent",
    "parent",
)

_FIELDS = frozenset(_STATE)
_state_of = attrgetter(*_STATE)


def new_row(run: Run) -> tuple[Any, ...]:
    """The whole row of a run that is new: ``NEW``."""
    return (
        run.partition,
        run.workspace,
        run.flow,
        run.key,
        run.correlation,
        _json(run.input),
        run.input_digest,
        run.start_id,
        run.linked_from,
        run.parent["run_id"] if run.parent else None,
        run.created_at,
        *moved_row(run),
    )


def moved_row(run: Run) -> tuple[Any, ...]:
    """What can change of a run, and its key: ``MOVED``."""
    return (*run.standing, *changed_row(run))


def changed_row(run: Run) -> tuple[Any, ...]:
    """The same for one whose standing is as it was: ``CHANGED``. No index is touched."""
    return (
        run.version,
        _json({name: value for name, value in zip(_STATE, _state_of(run), strict=True) if value}),
        run.seq,
        run.waiting(),
        _json(run.result) if run.result is not None else None,
        _json(run.error) if run.error is not None else None,
        run.updated_at,
        run.id,
    )


def fact_row(run: Run, fact: Fact) -> tuple[Any, ...]:
    """A fact as a row of the history: ``FACT``."""
    return (run.created_at, run.id, fact.seq, fact.type, fact.node, fact.at, _json(fact.data))


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
        **read_state(row["state"]),
    )


def readable_runs(rows: Iterable[Mapping[str, Any]]) -> list[Run]:
    """The runs that these rows hold, without those that can't be read: they are no other run's trouble."""
    runs = []
    for row in rows:
        try:
            runs.append(load_run(row))
        except UNREADABLE as error:
            log.error("run_unreadable", run=row["id"], error=f"{type(error).__name__}: {error}")
    return runs


def read_state(text: str) -> dict[str, Any]:
    """What ``runs.state`` holds. Raises one of ``UNREADABLE``, also where a run has no such fields here."""
    state: dict[str, Any] = orjson.loads(text)
    unknown = state.keys() - _FIELDS
    if unknown:
        raise TypeError(f"fields that this release does not know: {', '.join(sorted(unknown))}")
    return state


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
