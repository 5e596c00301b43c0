"""What follows from a ride is done once, however often its event comes; the rider is told once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from antiphon import Event, ReactionContext, Retryable, Terminal
from examples.ride import mail, reactors, rules
from examples.ride.demo.books import Books, read_books
from examples.ride.demo.sink import Sink
from examples.ride.ledger import Ledger


def reaction(key: str, attempt: int = 1) -> ReactionContext:
    return cast(ReactionContext, SimpleNamespace(key=key, attempt=attempt))


def books(book: Ledger) -> Books:
    return read_books(book.path, book.path.with_name("mailbox.sqlite"))


def ride_where(rule: object, met: bool) -> str:
    assert callable(rule)
    return next(ride for ride in (f"ride-{n}" for n in range(10_000)) if rule(ride) is met)


def completed(ride: str) -> reactors.Completed:
    return reactors.Completed(
        ride_id=ride,
        rider=reactors.Rider(id="rider-1", email="rider-1@riders.example"),
        driver="driver-0001",
        fare_cents=780,
        tip_cents=215,
        pickup=reactors.Place(zone="Union Sq", borough="Manhattan"),
        distance=1.6,
    )


async def test_reactors_file_a_ride_once(book: Ledger) -> None:
    """A reaction that comes again under its key writes no second row."""
    ride = ride_where(lambda ride: rules.portal_stumbles(ride) or rules.portal_down(ride), False)
    for _ in range(2):
        for reactor in (reactors.receipts, reactors.driver_earnings, reactors.city_stats):
            await reactor(completed(ride), reaction(f"key-{reactor.__name__}"))
    assert books(book).filed == {"receipts": [ride], "driver_earnings": [ride], "city_stats": [ride]}
    earned = await book.write(lambda db: db.execute("SELECT earned_cents FROM earnings").fetchone()[0])
    assert earned == 624 + 215


async def test_the_portal_stumbles_once_for_some_rides(book: Ledger) -> None:
    """The first attempt fails, the second does not."""
    stumbles = ride_where(lambda r: rules.portal_stumbles(r) and not rules.portal_down(r), True)
    with pytest.raises(Retryable):
        await reactors.city_stats(completed(stumbles), reaction("key", 1))
    await reactors.city_stats(completed(stumbles), reaction("key", 2))
    assert books(book).filed["city_stats"] == [stumbles]


async def test_the_portals_outage_ends_when_somebody_ends_it(book: Ledger) -> None:
    """Every attempt fails for a few rides, until the switch is set."""
    down = ride_where(lambda r: rules.portal_down(r) and not rules.portal_stumbles(r), True)
    for attempt in (1, 2, 3):
        with pytest.raises(Retryable, match="down"):
            await reactors.city_stats(completed(down), reaction("key", attempt))
    await book.set_switch(reactors.PORTAL_SWITCH, "open")
    await reactors.city_stats(completed(down), reaction("key", 4))
    assert books(book).filed["city_stats"] == [down]


def booked(ride: str) -> Event:
    path = Path(reactors.__file__).parent / "contracts" / "ride" / "booked.v1.json"
    example = json.loads(path.read_text())["examples"][0]
    return Event.create(
        "ride.booked.v1",
        {**example, "ride_id": ride},
        id="e-1",
        source="/default/flows/ride",
        at=0.0,
        workspace="default",
    )


@pytest.fixture
async def sink(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> Any:
    server = Sink(book.path.with_name("mailbox.sqlite"))
    await server.start()
    host, _, port = server.address.rpartition(":")
    sender = mail.Postman(host, int(port))
    monkeypatch.setattr(reactors, "postman", lambda: sender)
    yield server
    await server.stop()


async def test_a_rider_is_told_once_however_often_the_event_comes(book: Ledger, sink: Sink) -> None:
    """A repeat that the record knows stops there; one that it does not know is a copy, and suppressed."""
    for _ in range(2):
        await reactors.notify(booked("a"), reaction("key"))
    assert [(m.ride, m.about, m.copies) for m in books(book).mails] == [("a", "ride.booked.v1", 1)]
    # The process died after the server had taken the mail, and before it wrote that down.
    await book.write(lambda db: db.execute("UPDATE mails SET status = 'sending'"))
    await reactors.notify(booked("a"), reaction("key"))
    assert [(m.ride, m.about, m.copies) for m in books(book).mails] == [("a", "ride.booked.v1", 2)]


async def test_a_mail_server_that_is_away_is_tried_again(book: Ledger, sink: Sink) -> None:
    """No server is a reason to retry; once it is back, the same mail goes out over a new line."""
    await sink.stop()
    with pytest.raises(Retryable, match="no answer"):
        await reactors.notify(booked("a"), reaction("key"))
    status = await book.write(lambda db: db.execute("SELECT status FROM mails").fetchone()[0])
    assert status == "sending"
    assert not books(book).mails


async def test_a_mail_that_the_server_refuses_is_not_tried_again(book: Ledger, sink: Sink) -> None:
    """A 550 is a definite no."""
    sender = reactors.postman()
    letter = reactors._mail(booked("a"), "<id@ride.example>")
    del letter["X-Ride"]
    with pytest.raises(Terminal, match="550"):
        await sender.send(letter)
    await asyncio.wait_for(reactors.notify(booked("b"), reaction("key")), 10)
    assert [mail.ride for mail in books(book).mails] == ["b"]
