"""What a ride costs: the city's meter of 2019, asked before the ride instead of after it."""

from __future__ import annotations

import math
import sqlite3
from datetime import datetime

from pydantic import BaseModel, Field

from antiphon import StepContext, Terminal
from examples.ride.ledger import ledger

__all__ = ["Quote", "quote", "quote_fare", "withdraw_quote"]

START_CENTS = 250
FIFTH_OF_A_MILE_CENTS = 50
NIGHT_CENTS = 50  # from 20:00 to 6:00
PEAK_CENTS = 100  # Monday to Friday, from 16:00 to 20:00
TRANSIT_AUTHORITY_CENTS = 50
IMPROVEMENT_CENTS = 30


class Quote(BaseModel):
    """What the ride will cost, in US cents: ``total_cents`` is the sum of the others."""

    meter_cents: int
    surcharge_cents: int
    tolls_cents: int
    total_cents: int = Field(ge=1, le=1_000_000)


async def quote_fare(ctx: StepContext) -> Quote:
    """The first step: the fare is fixed, and from now on the rider is promised it."""
    request = ctx.input
    fare = quote(request["distance"], request["pickup"]["at"], request["tolls_cents"])
    book = ledger()
    await book.write(lambda db: _promise(db, ctx.run_key, fare.total_cents, ctx.key, book.clock()))
    return fare


async def withdraw_quote(ctx: StepContext) -> None:
    """Compensation: the ride does not take place, so its price binds nobody any more."""
    book = ledger()
    await book.write(lambda db: _enter(db, "withdrawn", ctx.run_key, 0, ctx.key, book.clock()))


def _promise(db: sqlite3.Connection, ride: str, cents: int, key: str, at: float) -> None:
    # A quote that comes after its withdrawal is an attempt that was given up: it must not stand.
    if db.execute("SELECT 1 FROM quotes WHERE ride = ? AND what = 'withdrawn'", (ride,)).fetchone():
        raise Terminal(f"{ride} was given up before it was quoted", code="withdrawn")
    _enter(db, "quoted", ride, cents, key, at)


def _enter(db: sqlite3.Connection, what: str, ride: str, cents: int, key: str, at: float) -> None:
    db.execute(
        "INSERT INTO quotes (at, key, what, ride, amount_cents) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (at, key, what, ride, cents),
    )


def quote(distance: float, at: str, tolls_cents: int) -> Quote:
    """The fare of ``distance`` miles from ``at`` (``2019-03-23T20:21:09``) on."""
    # Rounded first: 1.6 miles are eight fifths, and 1.6 * 5 is a hair more than 8 in some cases.
    fifths = math.ceil(round(distance * 5, 6))
    meter = START_CENTS + fifths * FIFTH_OF_A_MILE_CENTS
    start = datetime.fromisoformat(at)
    surcharge = TRANSIT_AUTHORITY_CENTS + IMPROVEMENT_CENTS
    if start.hour >= 20 or start.hour < 6:
        surcharge += NIGHT_CENTS
    elif start.hour >= 16 and start.weekday() < 5:
        surcharge += PEAK_CENTS
    return Quote(
        meter_cents=meter,
        surcharge_cents=surcharge,
        tolls_cents=tolls_cents,
        total_cents=meter + surcharge + tolls_cents,
    )
