"""The ride in its simulated world: ``antiphon simulate examples.ride.app:app`` finds this module.

The books and the mail are in memory and at once, so that what happens is decided by the seed alone.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from email.message import EmailMessage
from typing import TypeVar

from antiphon import Retryable
from antiphon.testing import Simulation, Stage
from examples.ride import ledger, mail
from examples.ride.app import app
from examples.ride.trips import SAMPLE, Trip, read_trips

__all__ = ["simulation"]

T = TypeVar("T")

DRIVERS = 3  # few, so that rides wait for one another


class MemoryLedger(ledger.Ledger):
    """The books of one seed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.deserialize(_FURNISHED)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """At once."""
        return self._transaction(work)

    def ask(self, statement: str) -> list[tuple[object, ...]]:
        """What the books say."""
        return self._connection.execute(statement).fetchall()


class MemoryPost:
    """Takes mail, and now and then loses the line before or after it has it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.taken: list[str] = []

    async def send(self, mail: EmailMessage) -> None:
        """See ``mail.Postman``."""
        await self._stage.sleep(self._stage.chance.uniform(0.0, 0.05))
        luck = self._stage.chance.random()
        if luck < 0.05:
            raise Retryable("the line broke")
        self.taken.append(str(mail["Message-ID"]))
        if luck > 0.97:
            raise Retryable("the line broke after the server had it")


def _furnish() -> bytes:
    book = sqlite3.connect(":memory:", isolation_level=None)
    ledger.furnish(book, DRIVERS)
    image = book.serialize()
    book.close()
    return image


_FURNISHED = _furnish()
_TRIPS = list(read_trips(SAMPLE))


def prepare(stage: Stage) -> None:
    """Books and mail of their own for each seed."""
    book = MemoryLedger(stage.clock)
    post = MemoryPost(stage)
    ledger.use(book)
    mail.use(post)
    stage.memory["books"], stage.memory["post"] = book, post


async def script(stage: Stage, runs: int) -> None:
    """Ask for rides, and drive them; some end early, some twice, some are cancelled."""
    for trip in stage.chance.sample(_TRIPS, runs):
        stage.go(_ride(stage, trip))


async def _ride(stage: Stage, trip: Trip) -> None:
    chance = stage.chance
    await stage.sleep(chance.uniform(0.0, 4.0))
    early = chance.random() < 0.15
    if early:
        await _end(stage, trip)
    run_id = await stage.start("ride", dict(trip.request))
    if chance.random() < 0.2:
        await stage.start("ride", dict(trip.request))
    if chance.random() < 0.15:
        await stage.cancel(run_id)  # the rider thinks better of it; past the pivot it is too late
    if not early:
        await stage.sleep(chance.uniform(0.5, 8.0))
        await _end(stage, trip)


async def _end(stage: Stage, trip: Trip) -> None:
    for _ in range(2 if stage.chance.random() < 0.2 else 1):
        await stage.publish("trip.ended.v1", dict(trip.end), id=f"end-{trip.ride_id}")


def no_driver_twice(stage: Stage) -> Iterable[str]:
    """No driver is on two rides, and no ride is paid for twice."""
    book: MemoryLedger = stage.memory["books"]
    twice = "SELECT ride, count(*) FROM payments WHERE what = 'captured' GROUP BY ride HAVING count(*) > 1"
    for ride, times in book.ask(twice):
        yield f"{ride} was captured {times} times"
    twice = "SELECT ride, count(*) FROM drivers WHERE ride IS NOT NULL GROUP BY ride HAVING count(*) > 1"
    for ride, times in book.ask(twice):
        yield f"{ride} has {times} drivers"


def books_agree(stage: Stage) -> Iterable[str]:
    """What the services have in their books is what the journal says."""
    book: MemoryLedger = stage.memory["books"]
    for (driver,) in book.ask("SELECT driver FROM drivers WHERE ride IS NOT NULL"):
        yield f"{driver} is on the road, and every ride is over"
    captured = {ride for (ride,) in book.ask("SELECT ride FROM payments WHERE what = 'captured'")}
    filed = Counter(ride for (ride,) in book.ask("SELECT ride FROM receipts"))
    told = Counter(ride for (ride,) in book.ask("SELECT ride FROM mails WHERE status = 'sent'"))
    for run in stage.runs.values():
        done = run.status == "completed"
        if done != (run.key in captured):
            yield f"{run.key} is {run.status}, and was {'' if run.key in captured else 'not '}captured"
        if filed[run.key] != int(done):
            yield f"{run.key} is {run.status}, and has {filed[run.key]} receipts"
        if told[run.key] != (2 if done else 1):
            yield f"the rider of {run.key}, which is {run.status}, was told {told[run.key]} times"
    held = """SELECT ride, sum(CASE what WHEN 'authorized' THEN amount_cents ELSE -amount_cents END)
              FROM payments GROUP BY ride"""
    for ride, cents in book.ask(held):
        if cents != 0:
            yield f"{cents} cents of {ride} are still held"


simulation = Simulation(
    app, script=script, prepare=prepare, invariants=[no_driver_twice], at_the_end=[books_agree]
)
