"""A start as a message of its own, or several in one: those of one workspace, for one partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from contracts.envelope import Event, derive_id
from orchestrator.happenings import StartRequested

__all__ = [
    "SOURCE",
    "STARTS",
    "parts_of",
    "read_start",
    "read_starts",
    "start_event",
    "starts_event",
    "written",
]

_START = "antiphon.start.v1"
STARTS = "antiphon.starts.v1"

SOURCE = "/antiphon/orchestrator"
# One that is not confirmed, or comes again, is so as a whole; and what is in hand of it lies in memory.
_MOST = 64
_MOST_BYTES = 256 * 1024


def start_event(asked: StartRequested, at: float) -> Event:
    """A start by itself. The event's id is the start's, so that a repeat is the same start."""
    extensions = {"answerto": asked.answer_to, "traceparent": asked.traceparent}
    return Event.create(
        _START,
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


def parts_of(texts: Sequence[bytes]) -> Iterator[slice]:
    """Which starts, ``written`` as in ``texts``, share an event: up to 64, or 256 KiB, in their order."""
    begin = size = 0
    for at, text in enumerate(texts):
        if at > begin and (at - begin == _MOST or size + len(text) > _MOST_BYTES):
            yield slice(begin, at)
            begin, size = at, 0
        size += len(text)
    if begin < len(texts):
        yield slice(begin, len(texts))


def starts_event(asked: Sequence[StartRequested], texts: Sequence[bytes], at: float) -> Event:
    """Starts of one workspace and partition in one event; one alone is as ``start_event`` makes it."""
    if len(asked) == 1:
        return start_event(asked[0], at)
    return Event.create(
        STARTS,
        {"starts": [orjson.Fragment(text) for text in texts]},
        id=derive_id("starts", *(each.message_id for each in asked)),
        source=SOURCE,
        at=at,
        workspace=asked[0].workspace,
    )


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
