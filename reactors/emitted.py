"""What handlers emitted, as rows of ``events``: each event with whether anybody listens to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from contracts.envelope import Event
from store.bulk import insert_rows
from store.tables import events
from store.timed import Timed

__all__ = ["insert_emitted", "tell_emitted"]

Emitted = Iterable[tuple[Event, bool]]


def insert_emitted(conn: Connection, emitted: Emitted, now: float) -> None:
    """Keep them as emitted at ``now``; one that is there already stays as it is."""
    rows = [_row(event, routed) | {"at": now} for event, routed in emitted]
    insert_rows(conn, events, rows, on_conflict="ignore")


def tell_emitted(timed: Timed, emitted: Emitted) -> None:
    """The same as a part of a statement, at its time."""
    rows = [_row(event, routed) for event, routed in emitted]
    timed.insert(events, rows, same={}, now=("at",), on_conflict="ignore")


def _row(event: Event, routed: bool) -> dict[str, Any]:
    return {
        "source": event.source,
        "id": event.id,
        "workspace": event.workspace,
        "type": event.type,
        "correlation": event.correlation,
        "causation": event.causation,
        "subject": event.subject,
        "routed": int(routed),
    }
