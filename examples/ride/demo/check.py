"""The audit: what the services have in their books against what the platform's journal says.

Two sources that know nothing of each other: the journal is read over the HTTP API, the books are the
services' own. Each sentence that does not hold of both is an ``Inconsistency``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from examples.ride.demo.books import Books, Move

__all__ = ["ENDED", "Inconsistency", "RunRecord", "audit", "expected_reactions"]

ENDED = frozenset({"completed", "compensated", "failed", "cancelled"})
# What the rider is told of a run that ended so, and how often: once each.
TOLD = {
    "completed": ("ride.booked.v1", "ride.completed.v1"),
    "compensated": ("ride.cancelled.v1",),
    "failed": ("ride.cancelled.v1",),
    "cancelled": ("ride.cancelled.v1",),
}


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """One sentence that does not hold. ``kind`` is for machines, ``detail`` for people."""

    kind: str
    ride: str
    detail: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the journal has it; ``result`` is there once it has completed."""

    ride: str
    status: str
    result: Mapping[str, Any] | None = None


def audit(
    runs: Sequence[RunRecord], books: Books, *, accepted: Collection[str], rejected: Collection[str]
) -> list[Inconsistency]:
    """Everything that is wrong, at best nothing.

    ``accepted`` are the rides that the gateway answered with a 2xx, ``rejected`` those it refused.
    """
    return [
        *_entries(runs, books, set(accepted), set(rejected)),
        *_drivers(runs, books),
        *_quotes(runs, books),
        *_payments(runs, books),
        *_mails(runs, books),
        *_filings(runs, books),
    ]


def expected_reactions(runs: Sequence[RunRecord], reactors: int) -> int:
    """How many mails and filings these runs give rise to, by ``reactors`` that file completed rides."""
    ended = [run for run in runs if run.status in ENDED]
    completed = sum(run.status == "completed" for run in ended)
    return sum(len(TOLD[run.status]) for run in ended) + completed * reactors


def _entries(
    runs: Sequence[RunRecord], books: Books, accepted: set[str], rejected: set[str]
) -> Iterator[Inconsistency]:
    """What was accepted is there and has ended; what was rejected, or never sent, is nowhere."""
    counted = Counter(run.ride for run in runs)
    for ride in sorted(accepted - counted.keys()):
        yield Inconsistency("run_lost", ride, "the gateway accepted it, and the journal has no run")
    for ride, times in counted.items():
        if times > 1:
            yield Inconsistency("run_twice", ride, f"the journal has {times} runs of it")
    for run in runs:
        if run.ride in accepted and run.status not in ENDED:
            yield Inconsistency("run_not_ended", run.ride, f"its run is {run.status}")
    for ride in sorted(rejected & {*counted, *books.rides()}):
        yield Inconsistency("rejected_entered", ride, "the gateway refused it, and it is in the books")
    for ride in sorted(set(books.rides()) - counted.keys() - rejected):
        yield Inconsistency("ride_unknown", ride, "the books mention it, and the journal has no run")


def _drivers(runs: Sequence[RunRecord], books: Books) -> Iterator[Inconsistency]:
    """No driver on two rides at once; each is free when the ride is over; the right one drove."""
    moves: dict[str, list[Move]] = defaultdict(list)
    busy: dict[str, str] = {}
    for move in books.moves:
        moves[move.ride].append(move)
        if move.driver is None:
            continue
        if move.what == "matched":
            other = busy.get(move.driver)
            if other is not None:
                detail = f"{move.driver} was matched while still on {other}"
                yield Inconsistency("driver_on_two_rides", move.ride, detail)
            busy[move.driver] = move.ride
        elif move.what in ("released", "freed") and busy.get(move.driver) == move.ride:
            del busy[move.driver]
    held: dict[str, set[str]] = defaultdict(set)
    for driver, ride in (*busy.items(), *books.on_the_road.items()):
        held[ride].add(driver)
    for run in runs:
        if run.status in ENDED:
            for driver in sorted(held[run.ride]):
                yield Inconsistency("driver_not_free", run.ride, f"{run.status}, and {driver} is still on it")
        yield from _match_of(run, moves[run.ride])


def _match_of(run: RunRecord, moves: Sequence[Move]) -> Iterator[Inconsistency]:
    matched = [move.driver for move in moves if move.what == "matched"]
    sent = [move.driver for move in moves if move.what == "dispatched"]
    if run.status == "completed":
        told = (run.result or {}).get("driver")
        if matched != [told] or sent != [told]:
            detail = f"the journal says {told}; matched {matched}, dispatched {sent}"
            yield Inconsistency("driver_differs", run.ride, detail)
    elif run.status in ENDED and sent:
        yield Inconsistency("dispatched_and_undone", run.ride, f"{run.status}, and {sent[0]} was sent out")


def _quotes(runs: Sequence[RunRecord], books: Books) -> Iterator[Inconsistency]:
    """A completed ride cost what was quoted; the quote of any other binds nobody any more."""
    quotes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for entry in books.quotes:
        quotes[entry.ride][entry.what].append(entry.cents)
    for run in runs:
        quoted, withdrawn = quotes[run.ride]["quoted"], quotes[run.ride]["withdrawn"]
        if run.status == "completed":
            fare = (run.result or {}).get("fare_cents")
            if quoted != [fare] or withdrawn:
                detail = f"the fare is {fare}; quoted {quoted}, withdrawn {len(withdrawn)} times"
                yield Inconsistency("quote_differs", run.ride, detail)
        elif run.status in ENDED and quoted and not withdrawn:
            yield Inconsistency("quote_stands", run.ride, f"{run.status}, and {quoted} is still promised")


def _payments(runs: Sequence[RunRecord], books: Books) -> Iterator[Inconsistency]:
    """A completed ride is captured once, for its exact fare; of any other, nothing is held or taken."""
    entries: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for entry in books.payments:
        entries[entry.ride][entry.what].append(entry.cents)
    for run in runs:
        authorized, voided, captured = (entries[run.ride][w] for w in ("authorized", "voided", "captured"))
        if run.status == "completed":
            fare = (run.result or {}).get("fare_cents")
            if not captured:
                yield Inconsistency("not_captured", run.ride, f"completed for {fare} cents, none captured")
            elif len(captured) > 1:
                yield Inconsistency("captured_twice", run.ride, f"captured {captured} cents")
            elif captured != [fare]:
                yield Inconsistency("wrong_amount", run.ride, f"captured {captured[0]}, the fare is {fare}")
            if len(authorized) != 1 or voided:
                detail = f"completed; authorized {authorized}, voided {voided} cents"
                yield Inconsistency("hold_differs", run.ride, detail)
        elif run.status in ENDED:
            if sum(authorized) != sum(voided):
                detail = f"{run.status}; authorized {authorized}, voided {voided} cents"
                yield Inconsistency("not_voided", run.ride, detail)
            if captured:
                yield Inconsistency("captured_and_undone", run.ride, f"{run.status}; captured {captured}")


def _mails(runs: Sequence[RunRecord], books: Books) -> Iterator[Inconsistency]:
    """Each rider is told once of each event that says so, and of no other."""
    told: dict[str, Counter[str]] = defaultdict(Counter)
    for mail in books.mails:
        told[mail.ride][mail.about] += 1
    for run in runs:
        if run.status not in ENDED:
            continue
        expected = TOLD[run.status]
        for about in expected:
            times = told[run.ride][about]
            if times == 0:
                yield Inconsistency("not_told", run.ride, f"{run.status}, and no mail of {about}")
            elif times > 1:
                yield Inconsistency("told_twice", run.ride, f"{times} mails of {about}")
        for about, times in told[run.ride].items():
            if times and about not in expected:
                yield Inconsistency("told_wrongly", run.ride, f"{run.status}, and a mail of {about}")


def _filings(runs: Sequence[RunRecord], books: Books) -> Iterator[Inconsistency]:
    """The other reactors have each filed each completed ride once, and no other."""
    for reactor, rides in sorted(books.filed.items()):
        filed = Counter(rides)
        for run in runs:
            wanted = 1 if run.status == "completed" else 0
            if run.status in ENDED and filed[run.ride] != wanted:
                surplus = "filed_twice" if wanted else "filed_wrongly"
                kind = "not_filed" if filed[run.ride] < wanted else surplus
                detail = f"{run.status}; {reactor} filed it {filed[run.ride]} times"
                yield Inconsistency(kind, run.ride, detail)
