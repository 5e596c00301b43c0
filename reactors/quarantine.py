"""What could not be read, verified or validated: kept with the reason, never retried by itself."""

from __future__ import annotations

import hashlib
from typing import Any

import structlog
from sqlalchemy import Connection, select

from bus.port import Message
from contracts.crash import reached
from contracts.envelope import derive_id
from reactors.intake import Refused
from reactors.text import headers_json, storable
from store.database import Database
from store.quarantine import hold

__all__ = ["Quarantine"]

_MOST_DETAIL = 4_000


class Quarantine:
    """Holds refused messages in the store, so that they can be acked without being lost."""

    def __init__(self, database: Database) -> None:
        self._now = database.now()
        self._group = database.group(self._put_all)
        self._log = structlog.get_logger("antiphon.reactors")

    async def put(self, queue: str, message: Message, refused: Refused) -> None:
        """Keep a message; again is harmless. Raises StoreUnavailable."""
        reached("reactors.quarantine.put.before")
        await self._group.submit(_row(queue, message, refused))
        reached("reactors.quarantine.put.after")
        self._log.warning(
            "message quarantined",
            queue=queue,
            message_id=message.id,
            reason=refused.reason,
            detail=refused.detail[:400],
        )

    def _put_all(self, conn: Connection, rows: list[dict[str, Any]]) -> list[None]:
        now = float(conn.execute(select(self._now)).scalar_one())
        hold(conn, [{**row, "received_at": now} for row in rows])
        return [None] * len(rows)


def _row(queue: str, message: Message, refused: Refused) -> dict[str, Any]:
    return {
        # The same message refused twice (it came again before it was acked) is one row.
        "id": derive_id(queue, message.id, refused.reason, hashlib.sha256(message.body).hexdigest()),
        "workspace": storable(refused.event.workspace, _MOST_DETAIL) if refused.event else "",
        "queue": queue,
        "reason": refused.reason,
        "detail": storable(refused.detail, _MOST_DETAIL),
        "message_id": storable(message.id, _MOST_DETAIL) or None,
        "content_type": storable(message.content_type, _MOST_DETAIL),
        "headers": headers_json(message.headers),
        "body": message.body,
        "status": "held",
    }
