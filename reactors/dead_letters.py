"""Dead letters: what can be seen of them, and what an operator can do with them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, Row, func, select

from bus.envelope import event_of
from bus.port import DIRECT, Bus, Message, Outgoing
from bus.routing import LONGEST_NAME
from contracts.crash import reached
from contracts.errors import LetterNotFound, LetterSettled, PublishFailed
from contracts.registry import Registry
from reactors.letter import ATTEMPT_HEADER, REDRIVE_HEADER, edited
from store.audit import append_audit
from store.bulk import select_rows
from store.database import Database
from store.tables import dead_letters, reactions

__all__ = ["DeadLetter", "DeadLetters", "LetterGroup"]

MOST_AT_ONCE = 1_000
CHUNK = 100  # published together


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Dead letters of one reactor with the same kind of error; times in seconds since the epoch."""

    key: str
    reactor: str
    error_type: str
    example: str
    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter, whole; times in seconds since the epoch. ``status``: dead, redriven, discarded."""

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
    traceback: str | None
    attempts: int
    content_type: str
    headers: dict[str, Any]
    body: bytes
    received_at: float
    dead_at: float
    status: str
    settled_at: float | None
    settled_by: str | None
    reason: str | None

    @classmethod
    def of(cls, row: Row[Any]) -> DeadLetter:
        """A row of the table."""
        values = dict(row._mapping)
        return cls(**{**values, "headers": orjson.loads(values["headers"]), "body": bytes(values["body"])})


class DeadLetters:
    """The dead letters of all workspaces; each call names one, and sees nothing of the others.

    A redrive sends the same message, id and all, to its own reactor only; the inbox lets it in once, and
    counts attempts anew. What is done already stays done.
    """

    def __init__(self, database: Database, bus: Bus, registry: Registry) -> None:
        self._database = database
        self._bus = bus
        self._registry = registry

    async def groups(self, workspace: str) -> list[LetterGroup]:
        """What is dead now, by reactor and kind of error; the newest group first."""
        return await self._database.read(partial(_groups, workspace))

    async def letters(
        self,
        workspace: str,
        *,
        reactor: str | None = None,
        group: str | None = None,
        status: str | None = "dead",
        most: int = 100,
        before: float | None = None,
        until: float | None = None,
    ) -> list[DeadLetter]:
        """Letters, the newest first; ``before`` (``dead_at`` of the last one seen) pages on.

        ``until``: none that died later.
        """
        d = dead_letters.c
        conditions = [d.workspace == workspace]
        for column, wanted in ((d.reactor, reactor), (d.group_key, group), (d.status, status)):
            if wanted is not None:
                conditions.append(column == wanted)
        if before is not None:
            conditions.append(d.dead_at < before)
        if until is not None:
            conditions.append(d.dead_at <= until)
        query = select(dead_letters).where(*conditions).order_by(d.dead_at.desc(), d.id).limit(most)
        rows = await self._database.read(lambda conn: list(conn.execute(query).all()))
        return [DeadLetter.of(row) for row in rows]

    async def show(self, workspace: str, id: str) -> DeadLetter:
        """One letter, whatever its status. Raises LetterNotFound."""
        return DeadLetter.of(await self._database.read(lambda conn: _find(conn, workspace, id)))

    async def redrive(
        self, workspace: str, id: str, *, actor: str, reason: str, data: Any | None = None
    ) -> None:
        """Send one letter to its reactor again, with another payload if ``data`` is given.

        Returns when the broker has it. Raises LetterNotFound, LetterSettled, ContractViolation when
        ``data`` is off the contract of what came, PublishFailed.
        """
        letter = await self.show(workspace, id)
        if letter.status != "dead":
            raise LetterSettled(
                f"dead letter {id} is {letter.status}, by {letter.settled_by or 'its reactor'}"
            )
        body = letter.body
        if data is not None:
            came = Message(letter.event_id, letter.body, letter.content_type, letter.headers)
            # By the contract of what came: an older major is carried over again on its way in.
            self._registry.validate(event_of(came).type, data)
            body = edited(came, data)
        await self._send([letter], actor, reason, target=id, bodies={id: body})

    async def redrive_group(
        self,
        workspace: str,
        group: str,
        *,
        actor: str,
        reason: str,
        most: int = MOST_AT_ONCE,
        until: float | None = None,
    ) -> int:
        """Send the letters of a group again, the oldest first; returns how many. Raises PublishFailed.

        ``until``: only those that had died by then, which somebody has seen.
        """
        letters = await self.letters(workspace, group=group, most=most, until=until)
        await self._send(letters[::-1], actor, reason, target=group, bodies={})
        return len(letters)

    async def discard(self, workspace: str, *ids: str, actor: str, reason: str) -> int:
        """Give letters up for good; they stay to be seen. Returns how many; raises LetterNotFound."""
        now = self._database.now()
        reached("reactors.dead_letters.discard.before")
        count = await self._database.write(partial(_discard, workspace, ids, actor, reason, now))
        reached("reactors.dead_letters.discard.after")
        return count

    async def _send(
        self, letters: Sequence[DeadLetter], actor: str, reason: str, *, target: str, bodies: dict[str, bytes]
    ) -> None:
        """Audit, publish, mark, in this order: an error or a crash in between loses nothing.

        What was published and not marked yet is marked by the inbox when it claims the message.
        """
        if not letters:
            return
        now = self._database.now()
        reached("reactors.dead_letters.announce.before")
        redrives = await self._database.write(
            lambda conn: _announce(conn, letters, actor, reason, target, bodies, now)
        )
        reached("reactors.dead_letters.announce.after")
        for start in range(0, len(letters), CHUNK):
            chunk = letters[start : start + CHUNK]
            out = [
                _again(letter, redrives[letter.id] + 1, bodies.get(letter.id, letter.body))
                for letter in chunk
            ]
            failed: PublishFailed | None = None
            try:
                reached("reactors.dead_letters.redrive.before")
                await self._bus.publish(*out)
                reached("reactors.dead_letters.redrive.after")
            except PublishFailed as error:
                failed = error
            sent = [
                letter.id for index, letter in enumerate(chunk) if not failed or index not in failed.errors
            ]
            reached("reactors.dead_letters.mark.before")
            await self._database.write(partial(_mark_redriven, sent, actor, reason, now))
            reached("reactors.dead_letters.mark.after")
            if failed:
                raise failed


def _again(letter: DeadLetter, redrive: int, body: bytes) -> Outgoing:
    headers = {name: value for name, value in letter.headers.items() if name != ATTEMPT_HEADER}
    headers[REDRIVE_HEADER] = redrive
    # The event is in the headers: its id may be longer than a message's can be.
    id = letter.event_id if len(letter.event_id.encode()) <= LONGEST_NAME else letter.id
    message = Message(id, body, letter.content_type, headers)
    return Outgoing(message, letter.queue, DIRECT)


def _groups(workspace: str, conn: Connection) -> list[LetterGroup]:
    d = dead_letters.c
    last = func.max(d.dead_at)
    query = (
        select(
            d.group_key,
            d.reactor,
            d.error_type,
            func.max(d.error_message),
            func.count(),
            func.min(d.dead_at),
            last,
        )
        .where(d.workspace == workspace, d.status == "dead")
        .group_by(d.group_key, d.reactor, d.error_type)
        .order_by(last.desc())
    )
    return [LetterGroup(*row) for row in conn.execute(query)]


def _find(conn: Connection, workspace: str, id: str) -> Row[Any]:
    query = select(dead_letters).where(dead_letters.c.id == id, dead_letters.c.workspace == workspace)
    row = conn.execute(query).first()
    if row is None:
        raise LetterNotFound(f"there is no dead letter {id!r} in workspace {workspace!r}")
    return row


def _announce(
    conn: Connection,
    letters: Sequence[DeadLetter],
    actor: str,
    reason: str,
    target: str,
    bodies: dict[str, bytes],
    now: Any,
) -> dict[str, int]:
    """Write the redrive into the audit trail; returns how often each letter's reaction was redriven."""
    edited = {id: hashlib.sha256(body).hexdigest() for id, body in bodies.items()}
    append_audit(
        conn,
        workspace=letters[0].workspace,
        at=float(conn.execute(select(now)).scalar_one()),
        actor=actor,
        action="redrive",
        target=target,
        reason=reason,
        detail={"letters": [letter.id for letter in letters], "body_sha256": edited},
    )
    keys = {(letter.reactor, letter.source, letter.event_id): letter.id for letter in letters}
    columns = ("reactor", "source", "event_id", "redrives")
    found = select_rows(conn, reactions, list(keys), columns=columns)
    counts = dict.fromkeys(keys.values(), 0)
    return counts | {keys[(row.reactor, row.source, row.event_id)]: row.redrives for row in found}


def _mark_redriven(ids: Sequence[str], actor: str, reason: str, now: Any, conn: Connection) -> None:
    d = dead_letters.c
    # "redriven" without a name is what the inbox writes when it is faster than we are.
    conn.execute(
        dead_letters.update()
        .where(d.id.in_(ids), d.status.in_(("dead", "redriven")), d.settled_by.is_(None))
        .values(status="redriven", settled_at=now, settled_by=actor, reason=reason)
    )


def _discard(workspace: str, ids: Sequence[str], actor: str, reason: str, now: Any, conn: Connection) -> int:
    letters = [row for row in (_find(conn, workspace, id) for id in ids) if row.status == "dead"]
    if not letters:
        return 0
    append_audit(
        conn,
        workspace=workspace,
        at=float(conn.execute(select(now)).scalar_one()),
        actor=actor,
        action="discard",
        target=letters[0].id if len(letters) == 1 else letters[0].group_key,
        reason=reason,
        detail={"letters": [row.id for row in letters]},
    )
    d, r = dead_letters.c, reactions.c
    conn.execute(
        dead_letters.update()
        .where(d.id.in_([row.id for row in letters]), d.status == "dead")
        .values(status="discarded", settled_at=now, settled_by=actor, reason=reason)
    )
    for row in letters:
        conn.execute(
            reactions.update()
            .where(r.reactor == row.reactor, r.source == row.source, r.event_id == row.event_id)
            .where(r.status == "dead")
            .values(status="discarded")
        )
    return len(letters)
