"""What an idempotent handler has done with a message that it had not claimed, many in one commit.

The first to record a key is the one that counts: a claim, or another record, that is there already makes
it a repeat, of which nothing is kept. (An idempotent receiver that keeps the ids of what it has processed
in the transaction of its effects: Hohpe and Woolf, Enterprise Integration Patterns, 2003, "Idempotent
Receiver".)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from contracts.envelope import Event
from contracts.record import record
from reactors.claims import KEYS, Claim
from reactors.context import Work
from store.bulk import insert_rows
from store.events import insert_events, insert_timed_events
from store.shortcut import Single
from store.tables import reactions
from store.timed import Timed

__all__ = ["Done", "all_recorded", "record_done", "recorded_at_once"]


@record(eq=False)
class Done:
    """A first attempt that has ended well; ``works`` and ``emitted`` as in a Settlement.

    It ``began`` and ``ended`` so many seconds before it is recorded.
    """

    claim: Claim
    began: float
    ended: float = 0.0
    works: Sequence[Work] = ()
    emitted: Sequence[tuple[Event, bool]] = ()


def record_done(conn: Connection, items: list[Done], *, incarnation: str, now: float) -> list[bool]:
    """Record what is new and run its works; False for repeats."""
    first = dict(sorted({item.claim.key: item for item in reversed(items)}.items()))
    same = _same(incarnation)
    rows = [_row(item, now - item.began, now - item.ended) | same for item in first.values()]
    fresh = {tuple(row) for row in insert_rows(conn, reactions, rows, on_conflict="ignore", returning=KEYS)}
    recorded = [first[item.claim.key] is item and item.claim.key in fresh for item in items]
    for item in [item for item, new in zip(items, recorded, strict=True) if new]:
        for work in item.works:
            work(conn)
    # Those of repeats, too: they are published.
    insert_events(conn, (one for item in items for one in item.emitted), now)
    return recorded


def recorded_at_once(items: list[Done], *, incarnation: str) -> Single | None:
    """``record_done`` as one statement, for what is new and has no works; it fails when one is a repeat."""
    if any(item.works for item in items) or len({item.claim.key for item in items}) < len(items):
        return None
    timed = Timed()
    rows = [_row(item, item.began, item.ended) for item in sorted(items, key=lambda item: item.claim.key)]
    ago = ("received_at", "started_at", "finished_at")
    timed.insert(reactions, rows, same=_same(incarnation), now=(), ago=ago)
    insert_timed_events(timed, (one for item in items for one in item.emitted))
    return timed.single()


def all_recorded(items: list[Done], rows: Sequence[Any]) -> list[bool]:
    """What ``recorded_at_once`` comes to when it does not fail."""
    return [True] * len(items)


def _row(item: Done, began: float, ended: float) -> dict[str, Any]:
    return item.claim.about() | {"received_at": began, "started_at": began, "finished_at": ended}


def _same(incarnation: str) -> dict[str, Any]:
    return {"status": "done", "attempts": 1, "crashes": 0, "claimed_by": incarnation}
