"""The payments service: a process of its own, reached over the bus, with its own books.

The platform's inbox answers a repeated command with the reply it has kept. It can't do so for a
process that died between its own commit and that reply, so the books keep the command's key too:
then the repeat finds the entry, and takes no money twice.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Literal

from pydantic import BaseModel

from antiphon import CommandContext, Service, Terminal
from examples.ride.ledger import ledger
from examples.ride.rules import card_declined

__all__ = ["Authorize", "Capture", "Void", "payments"]

payments = Service("payments")


class Authorize(BaseModel):
    """payments.authorize.v1"""

    ride_id: str
    amount_cents: int
    method: Literal["credit card", "cash"]


class Void(BaseModel):
    """payments.void.v1"""

    ride_id: str


class Capture(BaseModel):
    """payments.capture.v1"""

    ride_id: str
    amount_cents: int


@payments.handles("payments.authorize.v1", reply="payments.authorized.v1")
async def authorize(command: Authorize, ctx: CommandContext) -> dict[str, object]:
    """Hold the fare. Cash is held too: as the driver's promise to collect it, which no bank refuses."""
    if card_declined(command.ride_id, command.method):
        raise Terminal("the bank declined the card", code="card_declined")
    book = ledger()
    await book.write(lambda db: _authorize(db, command, ctx.key, book.clock()))
    reference = _reference("auth", ctx.key)
    return {"ride_id": command.ride_id, "authorization": reference, "amount_cents": command.amount_cents}


@payments.handles("payments.void.v1", reply="payments.voided.v1")
async def void(command: Void, ctx: CommandContext) -> dict[str, object]:
    """Let go of what is held. Where nothing is, the entry bars a hold that comes late."""
    book = ledger()
    amount = await book.write(lambda db: _void(db, command, ctx.key, book.clock()))
    return {"ride_id": command.ride_id, "amount_cents": amount}


@payments.handles("payments.capture.v1", reply="payments.captured.v1")
async def capture(command: Capture, ctx: CommandContext) -> dict[str, object]:
    """Take the fare that is held. Raises Terminal(not_held) when it is not, or not as much."""
    book = ledger()
    await book.write(lambda db: _capture(db, command, ctx.key, book.clock()))
    reference = _reference("capt", ctx.key)
    return {"ride_id": command.ride_id, "capture": reference, "amount_cents": command.amount_cents}


def _authorize(db: sqlite3.Connection, command: Authorize, key: str, at: float) -> None:
    if not _entered(db, "authorized", key):
        if _sum(db, "voided", command.ride_id) is not None:
            raise Terminal(f"{command.ride_id} was voided before it was authorized", code="voided")
        _enter(db, "authorized", command.ride_id, command.amount_cents, key, at, command.method)


def _void(db: sqlite3.Connection, command: Void, key: str, at: float) -> int:
    held = (_sum(db, "authorized", command.ride_id) or 0) - (_sum(db, "voided", command.ride_id) or 0)
    if not _entered(db, "voided", key):
        _enter(db, "voided", command.ride_id, held, key, at)
    return _amount(db, "voided", key)


def _capture(db: sqlite3.Connection, command: Capture, key: str, at: float) -> None:
    if _entered(db, "captured", key):
        return
    held = (_sum(db, "authorized", command.ride_id) or 0) - (_sum(db, "voided", command.ride_id) or 0)
    if held < command.amount_cents:
        raise Terminal(f"{held} cents are held, {command.amount_cents} are to be taken", code="not_held")
    _enter(db, "captured", command.ride_id, command.amount_cents, key, at)


def _entered(db: sqlite3.Connection, what: str, key: str) -> bool:
    row = db.execute("SELECT 1 FROM payments WHERE key = ? AND what = ?", (key, what)).fetchone()
    return row is not None


def _amount(db: sqlite3.Connection, what: str, key: str) -> int:
    row = db.execute("SELECT amount_cents FROM payments WHERE key = ? AND what = ?", (key, what)).fetchone()
    return int(row[0])


def _sum(db: sqlite3.Connection, what: str, ride: str) -> int | None:
    """Cents of all such entries of the ride; None when there is no entry."""
    statement = "SELECT sum(amount_cents) FROM payments WHERE ride = ? AND what = ?"
    total = db.execute(statement, (ride, what)).fetchone()[0]
    return None if total is None else int(total)


def _enter(
    db: sqlite3.Connection, what: str, ride: str, cents: int, key: str, at: float, method: str | None = None
) -> None:
    db.execute(
        "INSERT INTO payments (at, key, what, ride, amount_cents, method) VALUES (?, ?, ?, ?, ?, ?)",
        (at, key, what, ride, cents, method),
    )


def _reference(kind: str, key: str) -> str:
    """The same reference whenever the same command comes again."""
    return f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
