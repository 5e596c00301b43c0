"""Finding a driver, letting one go, sending one out: steps that run inside the orchestrator.

Each is done at least once, and has its effect once: the platform hands the same ``ctx.key`` to
every attempt, and the ledger keeps it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from pydantic import BaseModel, Field

from antiphon import Retryable, StepContext, Terminal
from examples.ride.ledger import ledger
from examples.ride.rules import zone_is_dry

__all__ = ["Dispatch", "Match", "dispatch", "free_driver", "match_driver", "release_driver"]


class Match(BaseModel):
    """The driver who was found."""

    driver: str = Field(pattern=r"^driver-[0-9]{4}$")


class Dispatch(BaseModel):
    """The driver who is on the way."""

    driver: str


async def match_driver(ctx: StepContext) -> Match:
    """Put the driver who has waited longest on this ride.

    Raises Terminal(no_driver) where the zone has run out, Retryable when all are on the road.
    """
    pickup = ctx.input["pickup"]
    if zone_is_dry(pickup["zone"], pickup["at"]):
        raise Terminal(f"no driver is left in {pickup['zone']} at {pickup['at']}", code="no_driver")
    book = ledger()
    driver = await book.write(lambda db: _match(db, ctx.run_key, ctx.key, book.clock()))
    return Match(driver=driver)


async def release_driver(ctx: StepContext) -> None:
    """Compensation: take the driver off the ride again.

    It may run although no match is known (the attempt timed out, its outcome is open): then the
    entry alone bars a match that comes late.
    """
    book = ledger()
    await book.write(lambda db: _leave(db, "released", ctx.run_key, ctx.key, book.clock))


async def dispatch(ctx: StepContext) -> Dispatch:
    """Send the driver out. From here on there is no way back."""
    driver = ctx.results["match_driver"]["driver"]
    book = ledger()
    await book.write(lambda db: _enter(db, "dispatched", ctx.run_key, driver, ctx.key, book.clock()))
    return Dispatch(driver=driver)


async def free_driver(ctx: StepContext) -> None:
    """The ride is over: the driver may have the next one."""
    book = ledger()
    await book.write(lambda db: _leave(db, "freed", ctx.run_key, ctx.key, book.clock))


def _match(db: sqlite3.Connection, ride: str, key: str, at: float) -> str:
    done = db.execute("SELECT driver FROM moves WHERE key = ? AND what = 'matched'", (key,)).fetchone()
    if done is not None:
        return str(done[0])
    if db.execute("SELECT 1 FROM moves WHERE ride = ? AND what = 'released'", (ride,)).fetchone():
        raise Terminal(f"{ride} was given up before its driver was found", code="released")
    free = db.execute("SELECT driver FROM drivers WHERE ride IS NULL ORDER BY moved LIMIT 1").fetchone()
    if free is None:
        raise Retryable("every driver is on the road", retry_after=1.0)
    driver = str(free[0])
    seq = _enter(db, "matched", ride, driver, key, at)
    db.execute("UPDATE drivers SET ride = ?, moved = ? WHERE driver = ?", (ride, seq, driver))
    return driver


def _leave(db: sqlite3.Connection, what: str, ride: str, key: str, clock: Callable[[], float]) -> None:
    row = db.execute("SELECT driver FROM drivers WHERE ride = ?", (ride,)).fetchone()
    driver = None if row is None else str(row[0])
    seq = _enter(db, what, ride, driver, key, clock())
    db.execute("UPDATE drivers SET ride = NULL, moved = ? WHERE ride = ?", (seq, ride))


def _enter(db: sqlite3.Connection, what: str, ride: str, driver: str | None, key: str, at: float) -> int:
    """Write an entry unless this key has written it before; the number of the newest entry."""
    db.execute(
        "INSERT INTO moves (at, key, what, ride, driver) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (at, key, what, ride, driver),
    )
    return int(db.execute("SELECT max(seq) FROM moves").fetchone()[0])
