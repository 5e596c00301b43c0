"""The audit log: who did what, when, why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, select

from gateway.queries.page import BadCursor, Page, page_of, read_cursor
from store.tables import audit

__all__ = ["AuditEntry", "list_audit"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did. ``target`` is ``run/<id>``, or a letter's id or group."""

    seq: int
    at: float
    actor: str
    action: str
    target: str
    reason: str | None
    detail: Any


def list_audit(
    conn: Connection,
    workspace: str,
    *,
    targets: Sequence[str] | None = None,
    cursor: str | None = None,
    most: int = 100,
) -> Page[AuditEntry]:
    """Entries, newest first; only those about ``targets`` where given. Raises BadCursor."""
    query = select(audit).where(audit.c.workspace == workspace)
    if targets is not None:
        query = query.where(audit.c.target.in_(list(targets)))
    if cursor is not None:
        seq, _ = read_cursor(cursor)
        if not 0 <= seq < 2**53:
            raise BadCursor(f"{cursor[:80]!r} is not a cursor that a page before gave")
        query = query.where(audit.c.seq < int(seq))
    rows = conn.execute(query.order_by(audit.c.seq.desc()).limit(most + 1)).all()
    return page_of(
        rows,
        most,
        lambda row: AuditEntry(
            row.seq,
            row.at,
            row.actor,
            row.action,
            row.target,
            row.reason,
            orjson.loads(row.detail) if row.detail else None,
        ),
        lambda row: (float(row.seq), ""),
    )
