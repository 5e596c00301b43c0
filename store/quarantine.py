"""The quarantine's rows: what could not be read, verified or validated is kept with the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from contracts.envelope import READ_PREFIXES, derive_id
from store.bulk import insert_rows
from store.tables import quarantine

__all__ = ["hold", "quarantined"]

_MOST_TEXT = 4_000
_REDELIVERED = "redelivered"  # beside the columns, until the row is kept


def quarantined(
    *,
    queue: str,
    reason: str,
    detail: str,
    workspace: str,
    message_id: str,
    content_type: str,
    headers: Mapping[str, object],
    body: bytes,
    at: float,
    redelivered: bool = False,
) -> dict[str, Any]:
    """A row of ``quarantine``. The same message refused twice for the same reason is one row.

    ``redelivered``: its queue had handed it out before; see ``hold``.
    """
    # A message's id is of its source only, and two bodies are often alike (`{}`).
    sender = (_storable(workspace), _source(headers))
    return {
        "id": derive_id(queue, *sender, message_id, reason, hashlib.sha256(body).hexdigest()),
        "workspace": _storable(workspace),
        "queue": queue,
        "reason": reason,
        "detail": _storable(detail),
        "message_id": _storable(message_id) or None,
        "content_type": _storable(content_type),
        "headers": orjson.dumps({name: _shown(value) for name, value in headers.items()}).decode(),
        "body": body,
        "received_at": at,
        "status": "held",
        _REDELIVERED: redelivered,
    }


def hold(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep rows in quarantine; again is harmless.

    What was released or discarded and is refused again is held again: it was taken off its queue again. But
    what was discarded and is only redelivered stays so: its process was killed before the ack was out.
    """
    kept = [{name: value for name, value in row.items() if name != _REDELIVERED} for row in rows]
    insert_rows(conn, quarantine, kept, on_conflict="ignore")
    for redelivered, stays in ((False, ("held",)), (True, ("held", "discarded"))):
        ids = [row["id"] for row in rows if row[_REDELIVERED] is redelivered]
        if ids:
            again = quarantine.update().where(quarantine.c.id.in_(ids), quarantine.c.status.not_in(stays))
            conn.execute(again.values(status="held", received_at=rows[-1]["received_at"]))


def _source(headers: Mapping[str, object]) -> str:
    """What a message says it is from; "" where its headers don't say (then its body may)."""
    said = (headers.get(prefix + "source") for prefix in READ_PREFIXES)
    return _storable(next((str(value) for value in said if value is not None), ""))


def _shown(value: object) -> object:
    """A header, whole however long it is: it is sent again when the message is released."""
    return value if isinstance(value, bool | int | float) else _legible(str(value))


def _storable(text: str) -> str:
    """Text that every database takes, and not too long."""
    return _legible(text)[:_MOST_TEXT]


def _legible(text: str) -> str:
    """No NUL, no lone surrogates."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()
