"""Dead letters, alone and in groups, and what is in quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, func, literal, select, tuple_

from gateway.queries.page import Page, page_of, read_cursor
from store.tables import dead_letters, quarantine

__all__ = [
    "DeadLetter",
    "DeadLetterGroup",
    "DeadLetterSummary",
    "Quarantined",
    "get_dead_letter",
    "get_quarantined",
    "held_messages",
    "list_dead_letters",
    "list_groups",
    "list_quarantine",
]

_MOST_HELD = 1_000  # messages of one story


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """A dead letter in a list. ``status`` is dead, redriven or discarded."""

    id: str
    workspace: str
    reactor: str
    queue: str
    source: str
    event_id: str
    type: str
    correlation: str
    group_key: str
    error_type: str
    error_message: str
    attempts: int
    received_at: float
    dead_at: float
    status: str
    settled_at: float | None
    settled_by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter(DeadLetterSummary):
    """A dead letter with its message, as it came."""

    traceback: str | None
    content_type: str
    headers: dict[str, Any]
    body: bytes


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """Dead letters of one reactor that failed in the same way."""

    group_key: str
    reactor: str
    error_type: str
    error_message: str  # the greatest one, as an example
    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message that could not be read, verified or validated."""

    id: str
    workspace: str
    queue: str
    reason: str
    detail: str
    message_id: str | None
    content_type: str
    headers: dict[str, Any]
    body: bytes
    received_at: float
    status: str


_SUMMARY = tuple(dead_letters.c[name] for name in DeadLetterSummary.__dataclass_fields__)
_FULL = tuple(dead_letters.c[name] for name in DeadLetter.__dataclass_fields__)


def list_dead_letters(
    conn: Connection,
    workspace: str,
    *,
    status: str | None = "dead",
    reactor: str | None = None,
    group_key: str | None = None,
    correlation: str | None = None,
    cursor: str | None = None,
    most: int = 50,
) -> Page[DeadLetterSummary]:
    """Dead letters, newest first; ``status`` None is all of them. Raises BadCursor."""
    query = select(*_SUMMARY).where(dead_letters.c.workspace == workspace)
    for column, value in (
        (dead_letters.c.status, status),
        (dead_letters.c.reactor, reactor),
        (dead_letters.c.group_key, group_key),
        (dead_letters.c.correlation, correlation),
    ):
        if value is not None:
            query = query.where(column == value)
    if cursor is not None:
        place = tuple_(*map(literal, read_cursor(cursor)))
        query = query.where(tuple_(dead_letters.c.dead_at, dead_letters.c.id) < place)
    query = query.order_by(dead_letters.c.dead_at.desc(), dead_letters.c.id.desc()).limit(most + 1)
    return page_of(
        conn.execute(query).all(),
        most,
        lambda row: DeadLetterSummary(**row._mapping),
        lambda row: (row.dead_at, row.id),
    )


def get_dead_letter(conn: Connection, workspace: str, id: str) -> DeadLetter | None:
    """One dead letter; None when this workspace has none of that id."""
    row = conn.execute(
        select(*_FULL).where(dead_letters.c.id == id, dead_letters.c.workspace == workspace)
    ).one_or_none()
    return DeadLetter(**_with_headers(row)) if row is not None else None


def list_groups(
    conn: Connection, workspace: str, *, status: str = "dead", reactor: str | None = None, most: int = 200
) -> list[DeadLetterGroup]:
    """Dead letters grouped by reactor and error, the largest group first."""
    count = func.count().label("count")
    query = (
        select(
            dead_letters.c.group_key,
            func.max(dead_letters.c.reactor).label("reactor"),
            func.max(dead_letters.c.error_type).label("error_type"),
            func.max(dead_letters.c.error_message).label("error_message"),
            count,
            func.min(dead_letters.c.dead_at).label("first_at"),
            func.max(dead_letters.c.dead_at).label("last_at"),
        )
        .where(dead_letters.c.workspace == workspace, dead_letters.c.status == status)
        .group_by(dead_letters.c.group_key)
        .order_by(count.desc(), dead_letters.c.group_key)
        .limit(most)
    )
    if reactor is not None:
        query = query.where(dead_letters.c.reactor == reactor)
    return [DeadLetterGroup(**row._mapping) for row in conn.execute(query)]


def list_quarantine(
    conn: Connection,
    workspace: str,
    *,
    unclaimed: bool = False,
    status: str | None = "held",
    cursor: str | None = None,
    most: int = 50,
    bodies: bool = False,
) -> Page[Quarantined]:
    """What is in quarantine, newest first; ``unclaimed``: what named no workspace, too. Raises BadCursor.

    Bodies are left empty unless asked for: one may be as large as the broker takes, and a page has hundreds.
    """
    columns = (column for column in quarantine.c if bodies or column is not quarantine.c.body)
    query = select(*columns).where(_visible(workspace, unclaimed))
    if status is not None:
        query = query.where(quarantine.c.status == status)
    if cursor is not None:
        place = tuple_(*map(literal, read_cursor(cursor)))
        query = query.where(tuple_(quarantine.c.received_at, quarantine.c.id) < place)
    query = query.order_by(quarantine.c.received_at.desc(), quarantine.c.id.desc()).limit(most + 1)
    return page_of(
        conn.execute(query).all(),
        most,
        lambda row: Quarantined(**_with_headers(row)),
        lambda row: (row.received_at, row.id),
    )


def get_quarantined(
    conn: Connection, workspace: str, id: str, *, unclaimed: bool = False
) -> Quarantined | None:
    """One message in quarantine; None when this workspace has none of that id."""
    row = conn.execute(
        select(quarantine).where(quarantine.c.id == id, _visible(workspace, unclaimed))
    ).one_or_none()
    return Quarantined(**_with_headers(row)) if row is not None else None


def held_messages(conn: Connection, workspace: str, message_ids: Iterable[str]) -> list[dict[str, Any]]:
    """Which of these messages are in quarantine now: id, queue, message_id, reason, detail, received_at."""
    q = quarantine.c
    query = select(q.id, q.queue, q.message_id, q.reason, q.detail, q.received_at).where(
        q.workspace == workspace,
        q.status.in_(("held", "releasing")),
        q.message_id.in_(list(message_ids)),
    )
    return [dict(row._mapping) for row in conn.execute(query.limit(_MOST_HELD))]


def _visible(workspace: str, unclaimed: bool) -> ColumnElement[bool]:
    return quarantine.c.workspace.in_([workspace, ""] if unclaimed else [workspace])


def _with_headers(row: Row[Any]) -> dict[str, Any]:
    return {"body": b"", **row._mapping, "headers": orjson.loads(row.headers)}
