"""What follows from a ride, each on its own: none of them knows of the flow, or of one another.

A reactor can be late, fail or be down for a day, and the ride goes on. Each may see an event twice
(a process died between its own commit and the platform's), so each writes under ``ctx.key``, which
is the same every time.
"""

from __future__ import annotations

import sqlite3
from email.message import EmailMessage

from pydantic import BaseModel

from antiphon import Event, ReactionContext, Retry, Retryable, reacts_to
from examples.ride.ledger import ledger
from examples.ride.mail import message_id, postman
from examples.ride.rules import portal_down, portal_stumbles

__all__ = ["PORTAL_SWITCH", "city_stats", "driver_earnings", "notify", "receipts"]

PORTAL_SWITCH = "city-portal"  # "open" once the outage is over
DRIVERS_SHARE = 0.8

SUBJECTS = {
    "ride.booked.v1": "Your driver is on the way",
    "ride.completed.v1": "Thank you for riding with us",
    "ride.cancelled.v1": "Your ride was cancelled",
}


class Rider(BaseModel):
    """Who rode."""

    id: str
    email: str


class Place(BaseModel):
    """Where they got in."""

    zone: str
    borough: str


class Completed(BaseModel):
    """What these reactors read of ride.completed.v1."""

    ride_id: str
    rider: Rider
    driver: str
    fare_cents: int
    tip_cents: int
    pickup: Place
    distance: float


@reacts_to(*SUBJECTS, retry=Retry(attempts=10, first=0.5, most=30.0))
async def notify(event: Event, ctx: ReactionContext) -> None:
    """Tell the rider, by mail.

    The mail is written down before the attempt, so that an operator can see one whose outcome is
    open, and again when the server has it, so that a repeat stops here. A repeat that slips through
    between the two carries the same Message-ID; see mail.py.
    """
    book, sent_as = ledger(), message_id(ctx.key)
    ride = str(event.data["ride_id"])

    def begin(db: sqlite3.Connection) -> bool:
        db.execute(
            "INSERT INTO mails VALUES (?, ?, ?, ?, ?, 'sending') ON CONFLICT DO NOTHING",
            (ctx.key, book.clock(), sent_as, ride, event.type),
        )
        row = db.execute("SELECT status FROM mails WHERE key = ?", (ctx.key,)).fetchone()
        return bool(row[0] == "sending")

    if await book.write(begin):
        await postman().send(_mail(event, sent_as))
        await book.write(lambda db: db.execute("UPDATE mails SET status = 'sent' WHERE key = ?", (ctx.key,)))


@reacts_to("ride.completed.v1", idempotent=True)
async def receipts(ride: Completed, ctx: ReactionContext) -> None:
    """File the rider's receipt."""
    row = (ctx.key, ledger().clock(), ride.ride_id, ride.rider.id, ride.fare_cents)
    await _file("INSERT INTO receipts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)


@reacts_to("ride.completed.v1", idempotent=True)
async def driver_earnings(ride: Completed, ctx: ReactionContext) -> None:
    """Credit the driver: the share of the fare, and the whole tip."""
    earned = round(ride.fare_cents * DRIVERS_SHARE) + ride.tip_cents
    row = (ctx.key, ledger().clock(), ride.ride_id, ride.driver, earned)
    await _file("INSERT INTO earnings VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)


@reacts_to("ride.completed.v1", retry=Retry(attempts=3, first=0.3, most=2.0))
async def city_stats(ride: Completed, ctx: ReactionContext) -> None:
    """Report the ride to the city's open-data portal, which fails now and then, by rule.

    For some rides the first attempt fails. For a few every attempt does, until somebody ends the
    portal's outage; those become dead letters, to be redriven then.
    """
    book = ledger()
    if portal_stumbles(ride.ride_id) and ctx.attempt == 1:
        raise Retryable("the city's portal timed out")
    if portal_down(ride.ride_id) and await book.switch(PORTAL_SWITCH) != "open":
        raise Retryable("the city's portal is down")
    row = (
        ctx.key,
        book.clock(),
        ride.ride_id,
        ride.pickup.borough,
        ride.pickup.zone,
        ride.distance,
        ride.fare_cents,
    )
    await _file("INSERT INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)


async def _file(statement: str, row: tuple[object, ...]) -> None:
    await ledger().write(lambda db: db.execute(statement, row))


def _mail(event: Event, sent_as: str) -> EmailMessage:
    ride, mail = event.data, EmailMessage()
    mail["From"] = "rides@ride.example"
    mail["To"] = ride["rider"]["email"]
    mail["Subject"] = SUBJECTS[event.type]
    mail["Message-ID"] = sent_as
    mail["X-Ride"] = ride["ride_id"]
    mail["X-Event-Type"] = event.type
    mail.set_content(_text(event.type, ride))
    return mail


def _text(type: str, ride: dict[str, object]) -> str:
    match type:
        case "ride.booked.v1":
            return f"{ride['driver']} is on the way. The fare is {_dollars(ride['fare_cents'])}.\n"
        case "ride.completed.v1":
            return f"You have arrived. We charged {_dollars(ride['fare_cents'])}.\n"
        case _:
            return f"We are sorry: {str(ride['reason']).replace('_', ' ')}. You were not charged.\n"


def _dollars(cents: object) -> str:
    return f"${int(str(cents)) / 100:.2f}"
