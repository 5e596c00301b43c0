"""A start as a message of its own, or several in one: those of one workspace, for one partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from contracts.envelope import Event, derive_id
from orchestrator.happenings import StartRequested

__all__ = ["SOURCE", "START", "STARTS", "read_start", "read_starts", "start_event", "start_events", "written"]

START = "antiphon.start.v1"
STARTS = "antiphon.starts.v1"

SOURCE = "/antiphon/orchestrator"
# One that is not confirmed, or comes again, is so as a whole; and what is in hand of it lies in memory.
_MOST = 64
_MOST_BYTES = 256 * 1024


def start_event(asked: StartRequested, at: float) -> Event:
    """A start by itself. The event's id is the start's, so that a repeat is the same start."""
    extensions = {"answerto": asked.answer_to, "traceparent": asked.traceparent}
    return Event.create(
        START,
        _data_of(asked),
        id=asked.message_id,
        source=SOURCE,
        at=at,
        workspace=asked.workspace,
        correlation=asked.correlation,
        causation=asked.causation,
        extensions={name: value for name, value in extensions.items() if value},
    )


def written(asked: StartRequested) -> bytes:
    """A start as it stands among others. Raises TypeError when no JSON holds what it says."""
    said = {
        "id": asked.message_id,
        "correlation": asked.correlation,
        "causation": asked.causation,
        "traceparent": asked.traceparent,
        "answer_to": asked.answer_to,
    }
    return orjson.dumps(_data_of(asked) | said)


def start_events(
    asked: Sequence[StartRequested], texts: Sequence[bytes], at: float
) -> list[tuple[Event, int]]:
    """Starts of one workspace and partition in as few events as may be, in their order.

    ``texts``: each as ``written``. With each event how many of them it holds: up to 64, or 256 KiB. One alone
    is as ``start_event`` makes it.
    """
    made: list[tuple[Event, int]] = []
    begin = size = 0
    for end in range(1, len(asked) + 1):
        size += len(texts[end - 1])
        full = end == len(asked) or end - begin == _MOST or size + len(texts[end]) > _MOST_BYTES
        if not full:
            continue
        alone = end - begin == 1
        event = start_event(asked[begin], at) if alone else _event(asked[begin:end], texts[begin:end], at)
        made.append((event, end - begin))
        begin, size = end, 0
    return made


def read_start(event: Event, partition: int) -> StartRequested:
    """A start that came by itself. Its data is as the contract says; raises KeyError where not."""
    return _read(
        event.data,
        partition,
        workspace=event.workspace,
        message_id=event.id,
        correlation=event.correlation,
        causation=event.causation,
        traceparent=event.extensions.get("traceparent"),
        answer_to=event.extensions.get("answerto"),
    )


def read_starts(event: Event, partition: int) -> list[StartRequested]:
    """The starts that came in one event, in the order in which they were asked for."""
    workspace = event.workspace
    return [
        _read(
            data,
            partition,
            workspace=workspace,
            message_id=data["id"],
            correlation=data["correlation"],
            causation=data["causation"],
            traceparent=data["traceparent"],
            answer_to=data["answer_to"],
        )
        for data in event.data["starts"]
    ]


def _event(asked: Sequence[StartRequested], texts: Sequence[bytes], at: float) -> Event:
    return Event.create(
        STARTS,
        {"starts": [orjson.Fragment(each) for each in texts]},
        id=derive_id("starts", *(each.message_id for each in asked)),
        source=SOURCE,
        at=at,
        workspace=asked[0].workspace,
    )


def _data_of(asked: StartRequested) -> dict[str, Any]:
    return {
        "run_id": asked.run_id,
        "flow": asked.flow,
        "version": asked.version,
        "key": asked.key,
        "input": asked.input,
        "input_digest": asked.input_digest,
        "parent": asked.parent,
        "linked_from": asked.linked_from,
        "begin_at": asked.begin_at,
        "results": asked.results,
    }


def _read(data: dict[str, Any], partition: int, **said: Any) -> StartRequested:
    return StartRequested(
        run_id=data["run_id"],
        partition=partition,
        flow=data["flow"],
        version=data["version"],
        key=data["key"],
        input=data["input"],
        input_digest=data["input_digest"],
        parent=data["parent"],
        linked_from=data["linked_from"],
        begin_at=data["begin_at"],
        results=data["results"] or {},
        **said,
    )
