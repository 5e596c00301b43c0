"""The inbox: every reaction is claimed here before it is attempted, and settled here after.

A key (reactor, source, event id) is handled by one process at a time and settled once. Claims and
settlements of many messages share one commit. All times are the database's, because the machines'
clocks disagree.

A claim belongs to an incarnation of a process. While that lives (``processes.alive_until``), a second
copy of the message waits; when it is dead or unknown the reaction is taken over, and that attempt is
counted as a crash: what crashes its workers again and again is parked as a dead letter instead of
taking the next one down. A settlement by a process that has lost its claim changes nothing.

What an idempotent handler did with a message that came for the first time is recorded with no claim before
it (``reactors.unclaimed``), unless it takes so long that it is claimed meanwhile (``reactors.late_claims``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Transaction, select, tuple_

from contracts.crash import reached
from reactors.claims import KEYS, Claim, Claimed, Crashed, Held, Key, Settled, Suspected, Undone, Verdict
from reactors.failure import Failure
from reactors.letter import letter_id
from reactors.settlements import Settlement, all_settled, done_at_once, settle
from reactors.tombstones import refusal, refused_before, tombstone
from reactors.unclaimed import Done, all_recorded, record_done, recorded_at_once
from store.bulk import insert_rows, update_rows
from store.database import Database, GroupCommit
from store.shortcut import Shortcut, Single
from store.tables import dead_letters, processes, reactions
from store.timed import Timed

__all__ = ["HOLD", "MOST_CRASHES", "Inbox"]

HOLD = 1.0  # seconds until a copy of a message that is at work elsewhere is looked at again
MOST_CRASHES = 5
SUSPECT_AFTER = 2  # crashes; from then on it is attempted with no other suspect beside it

_BEGUN = ("received_at", "started_at")


class Inbox:
    """The inbox as one process sees it; ``incarnation`` is its row in ``processes``."""

    def __init__(self, database: Database, *, incarnation: str, most_crashes: int = MOST_CRASHES) -> None:
        self._now = database.now()
        self._asked_in: Transaction | None = None
        self._asked_at = 0.0
        self._incarnation = incarnation
        self._most_crashes = most_crashes
        self._claims: GroupCommit[Claim, Verdict] = database.group(
            self._claim_all, Shortcut(self._claim_fresh, self._claimed_fresh)
        )
        self._settlements: GroupCommit[Settlement, bool] = database.group(
            self._settle_all, Shortcut(partial(done_at_once, incarnation=incarnation), all_settled)
        )
        self._records: GroupCommit[Done, bool] = database.group(
            self._record_all, Shortcut(partial(recorded_at_once, incarnation=incarnation), all_recorded)
        )

    async def claim(self, claim: Claim) -> Verdict:
        """Ask for the right to attempt this message. Raises StoreUnavailable; asking again is harmless."""
        reached("reactors.inbox.claim.before")
        verdict = await self._claims.submit(claim)
        reached("reactors.inbox.claim.after")
        return verdict

    async def settle(self, settlement: Settlement) -> bool:
        """Record how an attempt ended; False when the claim was lost to another process meanwhile.

        Raises StoreUnavailable (settling again is harmless), and whatever the handler's own works
        raised, in which case nothing was settled.
        """
        return await self._settlements.submit(settlement)

    async def record(self, done: Done) -> bool:
        """Record what was done without a claim; False, and none of its works, when it is a repeat.

        Raises StoreUnavailable (recording again is harmless, and False where it was recorded), and whatever
        the handler's own works raised, in which case it is not.
        """
        reached("reactors.inbox.record.before")
        recorded = await self._records.submit(done)
        reached("reactors.inbox.record.after")
        return recorded

    def _settle_all(self, conn: Connection, items: list[Settlement]) -> list[bool]:
        return settle(conn, items, incarnation=self._incarnation, now=self._time(conn))

    def _record_all(self, conn: Connection, items: list[Done]) -> list[bool]:
        return record_done(conn, items, incarnation=self._incarnation, now=self._time(conn))

    def _claim_fresh(self, items: list[Claim]) -> Single | None:
        """``_claim_all`` as one statement, for messages that never came before; it fails when one did."""
        first = dict(sorted({item.key: item for item in items}.items()))
        if len(first) < len(items) or any(item.undoes or item.came_before for item in items):
            return None
        timed = Timed()
        same = {"status": "claimed", "attempts": 1, "crashes": 0, "claimed_by": self._incarnation}
        rows = [item.about() for item in first.values()]
        if any(item.began for item in items):
            for row, item in zip(rows, first.values(), strict=True):
                row |= dict.fromkeys(_BEGUN, item.began)
            timed.insert(reactions, rows, same=same, now=(), ago=_BEGUN)
        else:
            timed.insert(reactions, rows, same=same, now=_BEGUN)
        return timed.single()

    def _claimed_fresh(self, items: list[Claim], rows: Sequence[Any]) -> list[Verdict]:
        now = rows[0][0]
        usual = Claimed(1, 1, 0, now)
        return [Claimed(1, 1, 0, now - item.began) if item.began else usual for item in items]

    def _claim_all(self, conn: Connection, items: list[Claim]) -> list[Verdict]:
        now = self._time(conn)
        # Sorted, so that two processes with the same messages lock their rows in the same order.
        first = dict(sorted({item.key: item for item in reversed(items)}.items()))
        undoing = [(item, item.undoes) for item in first.values() if item.undoes is not None]
        rows = {undone.key: tombstone(item, undone, now) for item, undone in undoing}
        rows |= {key: self._first_row(item, now) for key, item in first.items()}
        fresh = {
            Key(row.reactor, row.source, row.event_id)
            for row in insert_rows(
                conn, reactions, [rows[key] for key in sorted(rows)], on_conflict="ignore", returning=KEYS
            )
        }
        known = _load(conn, [key for key in sorted(rows) if key not in fresh])
        changes: list[dict[str, Any]] = []
        letters: list[dict[str, Any]] = []
        verdicts: dict[Key, Verdict] = {
            key: Claimed(1, 1, 0, now - item.began) for key, item in first.items() if key in fresh
        }
        barred: list[dict[str, Any]] = []
        verdicts |= self._bar(undoing, fresh, known, first, now, changes, barred)
        for key, row in known.items():
            if key in first and key not in verdicts:
                verdicts[key] = self._judge(conn, first[key], row, now, changes, letters)
        update_rows(conn, reactions, changes, keys=KEYS)
        update_rows(conn, reactions, barred, keys=KEYS)  # apart: other columns
        insert_rows(conn, dead_letters, letters, on_conflict="ignore")
        # A key that stands twice in one batch: the first copy got the verdict, the others wait.
        return [verdicts[item.key] if first[item.key] is item else Held(HOLD) for item in items]

    def _bar(
        self,
        undoing: Sequence[tuple[Claim, Undone]],
        fresh: set[Key],
        known: dict[Key, Row[Any]],
        first: dict[Key, Claim],
        now: float,
        changes: list[dict[str, Any]],
        barred: list[dict[str, Any]],
    ) -> dict[Key, Verdict]:
        """Bar what is undone; what undoes a command that is at work waits until that has ended."""
        waiting: dict[Key, Verdict] = {}
        for claim, undone in undoing:
            row = known.get(undone.key)
            if undone.key in first or (row is not None and self._at_work(row, now)):
                waiting[claim.key] = Held(HOLD)
                if claim.key in fresh:
                    held = self._change(claim.key, "retrying", 0, 0, claim.redrive, now)
                    changes.append(held | {"claimed_by": None, "retry_at": now + HOLD})
            elif row is not None and row.status not in ("done", "discarded"):
                # It failed, its worker died, or it is a dead letter: it could come again.
                barred.append(refusal(claim, undone, now))
        return waiting

    def _at_work(self, row: Row[Any], now: float) -> bool:
        if row.status != "claimed":
            return False
        return bool(row.claimed_by == self._incarnation or (row.alive_until or 0.0) > now)

    def _judge(
        self,
        conn: Connection,
        claim: Claim,
        row: Row[Any],
        now: float,
        changes: list[dict[str, Any]],
        letters: list[dict[str, Any]],
    ) -> Verdict:
        attempts, crashes, redrives = row.attempts + 1, row.crashes, row.redrives
        if row.status == "dead" and claim.redrive > row.redrives:
            _mark_redriven(conn, claim.key, row.redrives, now)
            attempts, crashes, redrives = 1, 0, claim.redrive
        elif row.status == "done" and claim.redrive > row.redrives and refused_before(row.reply):
            attempts, crashes, redrives = 1, 0, claim.redrive
        elif row.status in ("done", "dead", "discarded"):
            return Settled(row.status, row.reply)
        elif row.status == "retrying":
            if row.retry_at is not None and row.retry_at > now:
                return Held(row.retry_at - now)
        elif row.claimed_by == self._incarnation:
            # Ours already, and nobody here works on it: the answer to that claim was lost.
            attempts -= 1
        elif row.alive_until is not None and row.alive_until > now:
            return Held(HOLD)
        else:
            crashes += 1
            if crashes >= self._most_crashes:
                letters.append(self._crash_letter(claim, row, crashes, now))
                changes.append(self._change(claim.key, "dead", row.attempts, crashes, redrives, now))
                return Crashed(crashes)
            if crashes >= SUSPECT_AFTER and not claim.alone:
                return Suspected()
        changes.append(self._change(claim.key, "claimed", attempts, crashes, redrives, now - claim.began))
        return Claimed(attempts - crashes, attempts, redrives, row.received_at)

    def _crash_letter(self, claim: Claim, row: Row[Any], crashes: int, now: float) -> dict[str, Any]:
        return claim.letter.row(
            Failure.crashed(crashes),
            attempts=row.attempts,
            redrives=row.redrives,
            received_at=row.received_at,
            now=now,
        )

    def _first_row(self, claim: Claim, now: float) -> dict[str, Any]:
        began = now - claim.began
        change = self._change(claim.key, "claimed", 1, 0, claim.redrive, began)
        return change | claim.about() | {"received_at": began, "error": None, "reply": None}

    def _change(
        self, key: Key, status: str, attempts: int, crashes: int, redrives: int, now: float
    ) -> dict[str, Any]:
        return {
            **key._asdict(),
            "status": status,
            "attempts": attempts,
            "crashes": crashes,
            "redrives": redrives,
            "claimed_by": self._incarnation,
            "started_at": now,
            "finished_at": now if status == "dead" else None,
            "retry_at": None,
        }

    def _time(self, conn: Connection) -> float:
        """The database's time, asked for once in a transaction: claims and settlements often share one."""
        transaction = conn.get_transaction()
        if transaction is None or transaction is not self._asked_in:
            self._asked_at = float(conn.execute(select(self._now)).scalar_one())
            self._asked_in = transaction
        return self._asked_at


def _load(conn: Connection, keys: Sequence[Key]) -> dict[Key, Row[Any]]:
    """The rows of these keys, locked, each with how long its holder is known to live."""
    if not keys:
        return {}
    c = reactions.c
    statement = (
        select(
            c.reactor, c.source, c.event_id, c.status, c.attempts, c.crashes, c.redrives, c.claimed_by,
            c.received_at, c.retry_at, c.reply, processes.c.alive_until,
        )
        .outerjoin_from(reactions, processes, processes.c.id == c.claimed_by)
        .where(tuple_(c.reactor, c.source, c.event_id).in_([tuple(key) for key in keys]))
        .order_by(c.reactor, c.source, c.event_id)
        .with_for_update(of=reactions)
    )  # fmt: skip
    rows: list[Any] = list(conn.execute(statement).all())
    return {Key(row.reactor, row.source, row.event_id): row for row in rows}


def _mark_redriven(conn: Connection, key: Key, redrives: int, now: float) -> None:
    """The letter is on its way again, even if whoever sent it died before writing that down."""
    conn.execute(
        dead_letters.update()
        .where(dead_letters.c.id == letter_id(*key, redrives), dead_letters.c.status == "dead")
        .values(status="redriven", settled_at=now)
    )
