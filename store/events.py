"""Events as rows of ``events``: what was said, and whether anybody listened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from sqlalchemy import Connection

from contracts.envelope import Event
from store import tables
from store.bulk import insert_rows
from store.timed import Timed

__all__ = ["event_row", "insert_events", "insert_timed_events"]

# Each with whether anybody listens to it.
Said: TypeAlias = Iterable[tuple[Event, bool]]


def insert_events(conn: Connection, said: Said, at: float) -> None:
    """Keep them as said at ``at`` (seconds since the epoch); one that is there already stays as it is."""
    rows = [_row(event, routed) | {"at": at} for event, routed in said]
    insert_rows(conn, tables.events, rows, on_conflict="ignore")


def insert_timed_events(timed: Timed, said: Said) -> None:
    """The same as a part of a statement, at its time."""
    rows = [_row(event, routed) for event, routed in said]
    timed.insert(tables.events, rows, same={}, now=("at",), on_conflict="ignore")


def event_row(event: Event) -> dict[str, Any]:
    """What an event says of itself; its time, and whether anybody listens, is for whoever publishes it."""
    return {
        "source": event.source,
        "id": event.id,
        "workspace": event.workspace,
        "type": event.type,
        "correlation": event.correlation,
        "causation": event.causation,
        "subject": event.subject,
    }


def _row(event: Event, routed: bool) -> dict[str, Any]:
    return event_row(event) | {"routed": int(routed)}
