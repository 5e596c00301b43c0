"""What could not be read, verified or validated: kept with the reason, never retried by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection, select

from bus.port import Message
from contracts.crash import reached
from reactors.intake import Refused
from store.database import Database
from store.quarantine import hold, quarantined

__all__ = ["Quarantine"]


class Quarantine:
    """Holds refused messages in the store, so that they can be acked without being lost."""

    def __init__(self, database: Database) -> None:
        self._now = database.now()
        self._group = database.group(self._put_all)
        self._log = structlog.get_logger("antiphon.reactors")

    async def put(self, queue: str, message: Message, refused: Refused, *, redelivered: bool = False) -> None:
        """Keep a message; again is harmless. Raises StoreUnavailable.

        ``redelivered``: its queue had handed it out before.
        """
        row = partial(
            quarantined,
            queue=queue,
            reason=refused.reason,
            detail=refused.detail,
            workspace=refused.event.workspace if refused.event else "",
            message_id=message.id,
            content_type=message.content_type,
            headers=message.headers,
            body=message.body,
            redelivered=redelivered,
        )
        reached("reactors.quarantine.put.before")
        await self._group.submit(row)
        reached("reactors.quarantine.put.after")
        self._log.warning(
            "message quarantined",
            queue=queue,
            message_id=message.id,
            reason=refused.reason,
            detail=refused.detail[:400],
        )

    def _put_all(self, conn: Connection, rows: list[Callable[..., dict[str, Any]]]) -> list[None]:
        now = float(conn.execute(select(self._now)).scalar_one())
        hold(conn, [row(at=now) for row in rows])
        return [None] * len(rows)
