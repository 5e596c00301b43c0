"""The services do their work at least once, and it counts once: by the key, in their own books."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from antiphon import CommandContext, Retryable, StepContext, Terminal
from examples.ride import drivers, fare, payments, rules
from examples.ride.demo.books import Books, Entry, Move, read_books
from examples.ride.ledger import LEDGER_VARIABLE, Ledger

WET = {"zone": "Union Sq", "borough": "Manhattan", "at": "2019-03-01T00:00:00"}


def place(*, dry: bool) -> dict[str, str]:
    """A pickup whose zone has run out of drivers, or has not."""
    times = (f"2019-03-{day:02d}T{hour:02d}:00:00" for day in range(1, 29) for hour in range(24))
    return {**WET, "at": next(at for at in times if rules.zone_is_dry(WET["zone"], at) is dry)}


def ride_where(rule: object, met: bool) -> str:
    assert callable(rule)
    return next(ride for ride in (f"ride-{n}" for n in range(10_000)) if rule(ride) is met)


def at_step(ride: str, key: str, **results: Any) -> StepContext:
    return StepContext(
        input={"ride_id": ride, "pickup": place(dry=False), "distance": 1.6, "tolls_cents": 0},
        results=results,
        key=key,
        attempt=1,
        run_id=f"run-of-{ride}",
        run_key=ride,
        workspace="default",
        correlation=f"run-of-{ride}",
        flow="ride",
        node="match_driver",
    )


def command(key: str) -> CommandContext:
    return cast(CommandContext, SimpleNamespace(key=key))


def books(book: Ledger) -> Books:
    return read_books(book.path, book.path.with_name("mailbox.sqlite"))


async def test_writers_that_share_a_commit_do_not_share_their_failures(book: Ledger) -> None:
    """What one writer raises undoes its own work alone, and reaches that one alone."""

    def good(name: str) -> Callable[[sqlite3.Connection], object]:
        return lambda db: db.execute("INSERT INTO switches VALUES (?, 'on')", (name,))

    def bad(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO switches VALUES ('bad', 'on')")
        raise Terminal("no", code="no")

    ends = await asyncio.gather(
        *(book.write(work) for work in (good("a"), bad, good("b"), good("a"))), return_exceptions=True
    )
    assert [type(end).__name__ for end in ends] == ["Cursor", "Terminal", "Cursor", "IntegrityError"]
    assert [await book.switch(name) for name in ("a", "bad", "b")] == ["on", None, "on"]


async def test_matching_again_under_the_same_key_finds_the_same_driver(book: Ledger) -> None:
    """An attempt whose answer was lost is repeated, and takes no second driver off the road."""
    first = await drivers.match_driver(at_step("a", "key-a"))
    again = await drivers.match_driver(at_step("a", "key-a"))
    assert first == again
    assert [move.what for move in books(book).moves] == ["matched"]
    assert books(book).on_the_road == {first.driver: "a"}


async def test_a_dry_zone_is_a_definite_no(book: Ledger) -> None:
    """No driver is a decision, not a failure to be retried."""
    ctx = at_step("a", "key-a")
    with pytest.raises(Terminal) as refused:
        await drivers.match_driver(StepContext(**{**_fields(ctx), "input": {"pickup": place(dry=True)}}))
    assert refused.value.code == "no_driver"
    assert not books(book).moves


def _fields(ctx: StepContext) -> dict[str, Any]:
    return {name: getattr(ctx, name) for name in StepContext.__dataclass_fields__}


async def test_a_match_that_comes_after_its_release_is_barred(book: Ledger) -> None:
    """A compensation whose step has no known outcome wins over the attempt that is still on its way."""
    await drivers.release_driver(at_step("a", "key-release"))
    with pytest.raises(Terminal, match="given up"):
        await drivers.match_driver(at_step("a", "key-a"))
    assert not books(book).on_the_road


async def test_a_released_and_a_freed_driver_can_be_matched_again(book: Ledger) -> None:
    """Both ends of a ride let its driver go, and letting go twice is no second release."""
    for ride, leave in (("a", drivers.release_driver), ("b", drivers.free_driver)):
        await drivers.match_driver(at_step(ride, f"key-{ride}"))
        await leave(at_step(ride, f"key-{ride}-leave"))
        await leave(at_step(ride, f"key-{ride}-leave"))
    assert [move.what for move in books(book).moves] == ["matched", "released", "matched", "freed"]
    assert not books(book).on_the_road


async def test_when_all_are_on_the_road_matching_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few drivers at this moment is not a no."""
    small = Ledger(tmp_path / "small.sqlite", drivers=1)
    monkeypatch.setattr(drivers, "ledger", lambda: small)
    await drivers.match_driver(at_step("a", "key-a"))
    with pytest.raises(Retryable):
        await drivers.match_driver(at_step("b", "key-b"))
    small.close()


def test_many_processes_never_share_a_driver(tmp_path: Path) -> None:
    """Four processes match, dispatch and free at the same time on one file; no driver is on two rides."""
    program = (
        "import asyncio, sys\n"
        "from types import SimpleNamespace as N\n"
        "from examples.ride import drivers\n"
        "async def main(who):\n"
        "    for n in range(40):\n"
        "        ride = f'{who}-{n}'\n"
        f"        ctx = N(input={{'pickup': {place(dry=False)!r}}}, key=ride, run_key=ride, results={{}})\n"
        "        await drivers.match_driver(ctx)\n"
        "        await drivers.free_driver(N(key=ride + '-freed', run_key=ride))\n"
        "asyncio.run(main(sys.argv[1]))\n"
    )
    path = tmp_path / "ledger.sqlite"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, who],
            env={LEDGER_VARIABLE: str(path), "PYTHONPATH": "."},
            stderr=subprocess.PIPE,
        )
        for who in "abcd"
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    on: dict[str, str] = {}
    moves = _moves(path)
    assert len(moves) == 4 * 40 * 2
    for move in moves:
        assert move.driver is not None
        if move.what == "matched":
            assert on.setdefault(move.driver, move.ride) == move.ride
        else:
            assert on.pop(move.driver) == move.ride


def _moves(path: Path) -> list[Move]:
    with closing(sqlite3.connect(path)) as db:
        return [Move(*row) for row in db.execute("SELECT seq, what, ride, driver FROM moves ORDER BY seq")]


async def test_a_quote_stands_until_it_is_withdrawn_and_not_after(book: Ledger) -> None:
    """Twice under one key is one promise; one that comes after its withdrawal is barred."""
    for _ in range(2):
        await fare.quote_fare(at_step("a", "key-a"))
    await fare.withdraw_quote(at_step("b", "key-b-undo"))
    with pytest.raises(Terminal, match="given up"):
        await fare.quote_fare(at_step("b", "key-b"))
    cents = fare.quote(1.6, place(dry=False)["at"], 0).total_cents
    assert books(book).quotes == [Entry("quoted", "a", cents), Entry("withdrawn", "b", 0)]


async def test_authorizing_again_under_the_same_key_holds_once(book: Ledger) -> None:
    """A command that comes again is answered the same, and the fare is held once."""
    wanted = payments.Authorize(ride_id="a", amount_cents=780, method="cash")
    first = await payments.authorize(wanted, command("key"))
    assert await payments.authorize(wanted, command("key")) == first
    assert books(book).payments == [Entry("authorized", "a", 780)]


async def test_a_declined_card_holds_nothing(book: Ledger) -> None:
    """The bank's no is definite, and leaves no entry."""
    ride = ride_where(lambda ride: rules.card_declined(ride, "credit card"), True)
    with pytest.raises(Terminal) as refused:
        await payments.authorize(
            payments.Authorize(ride_id=ride, amount_cents=780, method="credit card"), command("key")
        )
    assert refused.value.code == "card_declined"
    assert not books(book).payments


async def test_voiding_lets_go_of_what_is_held_once(book: Ledger) -> None:
    """A repeated void is answered with what the first has let go of."""
    await payments.authorize(payments.Authorize(ride_id="a", amount_cents=780, method="cash"), command("k1"))
    for _ in range(2):
        assert (await payments.void(payments.Void(ride_id="a"), command("k2")))["amount_cents"] == 780
    assert (await payments.void(payments.Void(ride_id="a"), command("k3")))["amount_cents"] == 0
    assert sum(entry.cents for entry in books(book).payments if entry.what == "voided") == 780


async def test_a_hold_that_comes_after_its_void_is_barred(book: Ledger) -> None:
    """A void of an authorization with an open outcome wins over the command that is still on its way."""
    await payments.void(payments.Void(ride_id="a"), command("k2"))
    with pytest.raises(Terminal, match="voided before"):
        await payments.authorize(
            payments.Authorize(ride_id="a", amount_cents=780, method="cash"), command("k1")
        )


async def test_capturing_takes_what_is_held_and_no_more(book: Ledger) -> None:
    """Once under one key; refused where nothing, or too little, is held."""
    await payments.authorize(payments.Authorize(ride_id="a", amount_cents=780, method="cash"), command("k1"))
    for _ in range(2):
        await payments.capture(payments.Capture(ride_id="a", amount_cents=780), command("k2"))
    assert books(book).payments == [Entry("authorized", "a", 780), Entry("captured", "a", 780)]
    for ride, cents in (("b", 780), ("a", 781)):
        with pytest.raises(Terminal) as refused:
            await payments.capture(payments.Capture(ride_id=ride, amount_cents=cents), command("k3"))
        assert refused.value.code == "not_held"
