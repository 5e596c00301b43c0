"""What an operator can do with a message in quarantine: release it to its queue, or discard it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, select

from bus.dead import DEAD_HEADERS
from bus.port import DIRECT, Bus, Message, Outgoing
from contracts.crash import reached
from contracts.errors import NotQuarantined, PublishFailed, QuarantineSettled
from store.audit import append_audit
from store.database import Database
from store.tables import quarantine

__all__ = ["QuarantineDesk"]

# A release that was begun and whose end is not known: it may be on its queue, and can be released again.
RELEASING = "releasing"
_OPEN = ("held", RELEASING)


@dataclass(frozen=True, slots=True)
class _Held:
    id: str
    queue: str
    message: Message


class QuarantineDesk:
    """Settles messages that were refused.

    A release puts the message, id and all, on the queue that it was taken from, signed as a hop by this
    process, whose operator vouches for it. What is wrong in it stays wrong: off contract it is refused again.
    ``workspaces`` are those of which the caller may see messages; ``""`` is what named none. Everything is
    written into the audit trail of ``workspaces[0]`` before it is done.
    """

    def __init__(self, database: Database, bus: Bus | None) -> None:
        self._database = database
        self._bus = bus

    async def release(self, workspaces: Sequence[str], *ids: str, actor: str, reason: str) -> int:
        """Release messages; how many. Returns when the broker has them.

        Raises NotQuarantined, QuarantineSettled, and PublishFailed: then the message is held as before.
        """
        if self._bus is None:
            raise QuarantineSettled("this desk has no bus to release to")
        held = await self._settle(workspaces, ids, actor, reason, "release", RELEASING)
        out = [Outgoing(one.message, one.queue, DIRECT) for one in held]
        failed: PublishFailed | None = None
        try:
            reached("reactors.quarantine_desk.release.before")
            await self._bus.publish(*out)
            reached("reactors.quarantine_desk.release.after")
        except PublishFailed as error:
            failed = error
        except BaseException:
            await self._mark([one.id for one in held], "held")
            raise
        errors = failed.errors if failed else {}
        await self._mark([one.id for index, one in enumerate(held) if index not in errors], "released")
        if failed:
            await self._mark([held[index].id for index in errors], "held")
            raise failed
        return len(held)

    async def discard(self, workspaces: Sequence[str], *ids: str, actor: str, reason: str) -> int:
        """Give messages up for good; they stay to be seen. Raises NotQuarantined, QuarantineSettled."""
        return len(await self._settle(workspaces, ids, actor, reason, "discard", "discarded"))

    async def _settle(
        self,
        workspaces: Sequence[str],
        ids: Sequence[str],
        actor: str,
        reason: str,
        verb: str,
        status: str,
    ) -> list[_Held]:
        now = self._database.now()

        def settle(conn: Connection) -> list[_Held]:
            found = [_find(conn, workspaces, id) for id in dict.fromkeys(ids)]
            if found:
                append_audit(
                    conn,
                    workspace=workspaces[0],
                    at=float(conn.execute(select(now)).scalar_one()),
                    actor=actor,
                    action=f"quarantine.{verb}",
                    target=found[0].id if len(found) == 1 else f"{len(found)} messages",
                    reason=reason,
                    detail={"messages": [one.id for one in found]},
                )
            _set(conn, [one.id for one in found], status)
            return found

        reached("reactors.quarantine_desk.settle.before")
        held = await self._database.write(settle)
        reached("reactors.quarantine_desk.settle.after")
        return held

    async def _mark(self, ids: Sequence[str], status: str) -> None:
        """Only what is still being released: it may have been refused, and held, again meanwhile."""
        reached("reactors.quarantine_desk.mark.before")
        await self._database.write(lambda conn: _set(conn, ids, status, only=RELEASING))
        reached("reactors.quarantine_desk.mark.after")


def _find(conn: Connection, workspaces: Sequence[str], id: str) -> _Held:
    q = quarantine.c
    wanted = select(quarantine).where(q.id == id, q.workspace.in_(list(workspaces)))
    row: Any = conn.execute(wanted).one_or_none() if id.isprintable() else None
    if row is None:
        raise NotQuarantined(f"there is no message {id!r} in quarantine")
    if row.status not in _OPEN:
        raise QuarantineSettled(f"message {id} in quarantine is {row.status} already")
    # Without the story of its end: given up again it will have another, and a signature covers what it says.
    headers = {name: value for name, value in orjson.loads(row.headers).items() if name not in DEAD_HEADERS}
    message = Message(row.message_id or row.id, bytes(row.body), row.content_type, headers)
    return _Held(row.id, row.queue, message)


def _set(conn: Connection, ids: Sequence[str], status: str, *, only: str | None = None) -> None:
    q = quarantine.c
    update = quarantine.update().where(q.id.in_(list(ids))).values(status=status)
    conn.execute(update if only is None else update.where(q.status == only))
