"""The audit trail: who did what, when and why, as a chain of digests for each workspace.

Each entry's digest covers the one before, so that an entry changed or taken out later breaks the chain
from there on. (Whoever can rewrite the whole table can rewrite the chain: export digests to somewhere
else to guard against that.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import BigInteger, Connection, cast, func, select

from store.tables import audit

__all__ = ["append_audit", "first_broken"]

BEGINNING = ""  # what the first entry of a chain has before it


def append_audit(
    conn: Connection,
    *,
    workspace: str,
    at: float,
    actor: str,
    action: str,
    target: str,
    reason: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> str:
    """Append an entry in the transaction of ``conn``; returns its digest.

    ``at`` is in seconds since the epoch. ``actor`` is who did it (a key's id, a user's name), ``action``
    a verb such as ``redrive``, ``target`` what it was done to. Entries of one workspace are serialised.
    """
    if conn.dialect.name == "postgresql":
        # Two appends at the same moment would both follow the same entry. Ends with the transaction;
        # SQLite has one writer as it is.
        conn.execute(select(func.pg_advisory_xact_lock(cast(_lock_of(workspace), BigInteger))))
    last = select(audit.c.digest).where(audit.c.workspace == workspace).order_by(audit.c.seq.desc()).limit(1)
    previous = conn.execute(last).scalar() or BEGINNING
    text = None if detail is None else orjson.dumps(dict(detail), option=orjson.OPT_SORT_KEYS).decode()
    digest = _digest(previous, workspace, at, actor, action, target, reason, text)
    conn.execute(
        audit.insert().values(
            workspace=workspace,
            at=at,
            actor=actor,
            action=action,
            target=target,
            reason=reason,
            detail=text,
            previous=previous,
            digest=digest,
        )
    )
    return digest


def first_broken(conn: Connection, workspace: str) -> int | None:
    """The ``seq`` of the first entry that does not follow from the one before; None if all do."""
    previous = BEGINNING
    for row in conn.execute(select(audit).where(audit.c.workspace == workspace).order_by(audit.c.seq)):
        digest = _digest(
            previous, row.workspace, row.at, row.actor, row.action, row.target, row.reason, row.detail
        )
        if row.previous != previous or row.digest != digest:
            return int(row.seq)
        previous = digest
    return None


def _digest(*fields: str | float | None) -> str:
    return hashlib.sha256(orjson.dumps(fields)).hexdigest()


def _lock_of(workspace: str) -> int:
    """A key for the advisory lock: 63 bits, so that it is a positive bigint."""
    return int.from_bytes(hashlib.sha256(f"audit:{workspace}".encode()).digest()[:8], "big") >> 1
