"""How attempts ended, many in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, select, tuple_

from contracts.envelope import Event
from contracts.record import record
from reactors.claims import KEYS, Claimed, Key
from reactors.context import Work
from reactors.failure import Failure
from reactors.letter import Letter
from store.bulk import insert_rows, select_rows, update_rows
from store.events import insert_events, insert_timed_events
from store.shortcut import Single
from store.tables import dead_letters, reactions
from store.timed import Timed

__all__ = ["Settlement", "all_settled", "done_at_once", "settle"]

_CAREFUL = ("dead", "returned")
_GUARD = (*KEYS, "claimed_by")


@record(eq=False)
class Settlement:
    """The end of one attempt.

    ``done`` may carry a ``reply``, the handler's ``works`` (run in the same commit) and what was
    ``emitted`` (each with whether anybody listens); ``retrying`` and ``dead`` carry the ``failure``,
    ``retrying`` the ``delay`` in seconds. ``returned``: not attempted to its end, through no fault of
    its own; the attempt does not count.
    """

    key: Key
    claimed: Claimed
    letter: Letter
    status: Literal["done", "retrying", "dead", "returned"]
    failure: Failure | None = None
    delay: float = 0.0
    reply: str | None = None
    works: Sequence[Work] = ()
    emitted: Sequence[tuple[Event, bool]] = ()


def settle(conn: Connection, items: list[Settlement], *, incarnation: str, now: float) -> list[bool]:
    """Settle what this incarnation still holds; False for what it has lost.

    Settling again (the answer to the commit was lost) is True and changes nothing.
    """
    # What writes more than its own row, or must not undo an end, needs a claim that is still at work.
    careful = [item for item in items if item.works or item.status in _CAREFUL]
    held = _lock(conn, sorted(item.key for item in careful), incarnation) if careful else {}
    mine = [item for item in careful if held.get(item.key) == "claimed"]
    for item in mine:
        for work in item.works:
            work(conn)
    plain = [item for item in items if not (item.works or item.status in _CAREFUL)]
    changed = _update(conn, plain + mine, incarnation, now)
    letters = [_letter(item, now) for item in mine if item.status == "dead"]
    insert_rows(conn, dead_letters, letters, on_conflict="ignore")
    # Recorded even where the claim was lost: they are published.
    insert_events(conn, (one for item in items for one in item.emitted), now)
    if changed == len(plain) + len(mine) and len(mine) == len(careful):
        return [True] * len(items)
    held |= _owned(conn, [item.key for item in plain], incarnation)
    return [item.key in held for item in items]


def done_at_once(items: list[Settlement], *, incarnation: str) -> Single | None:
    """``settle`` as one statement, for what is done and nothing else; it fails when a claim was lost."""
    if any(item.works or item.status != "done" for item in items) or len({i.key for i in items}) < len(items):
        return None
    timed = Timed()
    rows = [{**item.key._asdict(), "reply": item.reply} for item in sorted(items, key=_key)]
    same = {"status": "done", "retry_at": None}
    timed.update(
        reactions, rows, keys=KEYS, same=same, now=("finished_at",), where={"claimed_by": incarnation}
    )
    insert_timed_events(timed, (one for item in items for one in item.emitted))
    return timed.single()


def all_settled(items: list[Settlement], rows: Sequence[Any]) -> list[bool]:
    """What ``done_at_once`` comes to when it does not fail."""
    return [True] * len(items)


def _update(conn: Connection, items: list[Settlement], incarnation: str, now: float) -> int:
    """Change the rows that are still claimed by us; how many those were."""
    by_status = {"done": _done, "retrying": _failed, "dead": _failed, "returned": _returned}
    batches: dict[object, list[dict[str, Any]]] = {}
    for item in items:
        build = by_status[item.status]
        batches.setdefault(build, []).append({**build(item, now), "claimed_by": incarnation})
    return sum(update_rows(conn, reactions, rows, keys=_GUARD) for rows in batches.values())


def _owned(conn: Connection, keys: Sequence[Key], incarnation: str) -> dict[Key, str]:
    guard = [(*key, incarnation) for key in keys]
    rows = select_rows(conn, reactions, guard, by=_GUARD, columns=(*KEYS, "status"))
    return {Key(row.reactor, row.source, row.event_id): row.status for row in rows}


def _lock(conn: Connection, keys: Sequence[Key], incarnation: str) -> dict[Key, str]:
    c = reactions.c
    statement = (
        select(c.reactor, c.source, c.event_id, c.status)
        .where(tuple_(c.reactor, c.source, c.event_id).in_([tuple(key) for key in keys]))
        .where(c.claimed_by == incarnation)
        .order_by(c.reactor, c.source, c.event_id)
        .with_for_update()
    )
    return {Key(row.reactor, row.source, row.event_id): row.status for row in conn.execute(statement)}


def _done(item: Settlement, now: float) -> dict[str, Any]:
    return {
        **item.key._asdict(), "status": "done", "finished_at": now, "retry_at": None, "reply": item.reply,
    }  # fmt: skip


def _failed(item: Settlement, now: float) -> dict[str, Any]:
    failure = _failure(item)
    retrying = item.status == "retrying"
    return {
        **item.key._asdict(),
        "status": item.status,
        "finished_at": None if retrying else now,
        "retry_at": now + item.delay if retrying else None,
        "error": orjson.dumps(
            {
                "type": failure.type,
                "message": failure.message,
                "code": failure.code,
                "attempt": item.claimed.attempt,
                "at": now,
            }
        ).decode(),
    }


def _returned(item: Settlement, now: float) -> dict[str, Any]:
    return {
        **item.key._asdict(), "status": "retrying", "attempts": item.claimed.attempts - 1, "retry_at": None,
    }  # fmt: skip


def _letter(item: Settlement, now: float) -> dict[str, Any]:
    claimed = item.claimed
    return item.letter.row(
        _failure(item),
        attempts=claimed.attempts,
        redrives=claimed.redrives,
        received_at=claimed.received_at,
        now=now,
    )


def _failure(item: Settlement) -> Failure:
    if item.failure is None:
        raise TypeError(f"a {item.status} settlement needs the failure that led to it")
    return item.failure


def _key(item: Settlement) -> Key:
    return item.key
