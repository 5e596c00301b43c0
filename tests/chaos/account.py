"""What became of the rides of one fault: the journal over HTTP, and the services' own books beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from examples.ride.demo.books import FILES, Books, read_books
from examples.ride.demo.check import ENDED, Inconsistency, RunRecord, audit, expected_reactions
from examples.ride.demo.client import Gateway
from tests.chaos.load import Load

__all__ = ["Account", "render", "settle"]

PATIENCE = 60.0  # seconds without any progress after which what is missing counts as lost
AT_ONCE = 16  # requests
DOUBLED = {
    "run_twice",
    "captured_twice",
    "told_twice",
    "filed_twice",
    "driver_on_two_rides",
    "hold_differs",
    "driver_differs",
}


@dataclass(frozen=True, slots=True)
class Account:
    """One fault. ``lost``: rides taken with a 2xx that did not end, or without all of their effects.

    ``duplicated_effects``: effects that are in the books more often than once. ``recovered_s``: from the mark
    (see docs/testing.md) until the last ride that was under way then had ended. ``slowest_s``: the longest
    that any ride took from its first request to its end. ``said`` is what a client or an operator was told.
    """

    fault: str
    sent: int
    completed: int
    lost: int
    duplicated_effects: int
    recovered_s: float
    slowest_s: float
    findings: tuple[str, ...] = ()
    said: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """As JSON, without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in (None, (), {})}


async def settle(
    gateway: Gateway, ledger: Path, mailbox: Path, load: Load, mark: float, said: str | None = None
) -> Account:
    """Wait until nothing is missing (or nothing moves any more), then compare journal and books."""
    patience = Patience()
    while True:
        rows = await _rows(gateway, load)
        ended = {str(row["key"]) for row in rows if row["status"] in ENDED}
        if load.accepted <= ended or patience.over(len(ended)):
            break
        await asyncio.sleep(0.3)
    runs = await _records(gateway, rows)
    books = await _reactions(ledger, mailbox, load, runs)
    findings = audit(runs, books, accepted=load.accepted, rejected=load.refused)
    findings += [Inconsistency("refused", ride, why) for ride, why in load.refused.items()]
    doubled = [finding for finding in findings if finding.kind in DOUBLED]
    ends = {str(row["key"]): _seconds(row["ended_at"]) for row in rows if row["ended_at"]}
    took = [ends[ride] - at for ride, at in load.sent.items() if ride in ends]
    under_way = [ends[ride] - mark for ride, at in load.sent.items() if at <= mark < ends.get(ride, 0.0)]
    return Account(
        fault=load.name,
        sent=len(load.sent),
        completed=len(load.accepted & ended),
        lost=len({finding.ride for finding in findings if finding.kind not in DOUBLED}),
        duplicated_effects=len(doubled),
        recovered_s=round(max(under_way, default=0.0), 2),
        slowest_s=round(max(took, default=0.0), 2),
        findings=tuple(f"{finding.kind} {finding.ride}: {finding.detail}" for finding in findings),
        said=said,
    )


class Patience:
    """Over when a number has not changed for a while."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        self._seconds = seconds
        self._last: int | None = None
        self._since = time.monotonic()

    def over(self, now: int) -> bool:
        if now != self._last:
            self._last, self._since = now, time.monotonic()
        return time.monotonic() - self._since > self._seconds


async def _rows(gateway: Gateway, load: Load) -> list[dict[str, Any]]:
    """The runs of this load. Those of earlier ones had ended before it began, so they come after it."""
    rows = []
    async for row in gateway.runs("ride"):
        if row["key"] not in load.sent:
            break
        rows.append(row)
    return rows


async def _records(gateway: Gateway, rows: Sequence[dict[str, Any]]) -> list[RunRecord]:
    places = asyncio.Semaphore(AT_ONCE)

    async def record(row: dict[str, Any]) -> RunRecord:
        ride, status = str(row["key"]), str(row["status"])
        if status != "completed":
            return RunRecord(ride, status)
        async with places:
            return RunRecord(ride, status, (await gateway.run(str(row["id"])))["result"])

    return list(await asyncio.gather(*map(record, rows)))


async def _reactions(ledger: Path, mailbox: Path, load: Load, runs: Sequence[RunRecord]) -> Books:
    """The books, once the reactors have written all that these runs give rise to."""
    wanted, patience = expected_reactions(runs, len(FILES)), Patience()
    while True:
        books = _of(load, read_books(ledger, mailbox))
        found = len(books.mails) + sum(map(len, books.filed.values()))
        if found >= wanted or patience.over(found):
            return books
        await asyncio.sleep(0.3)


def _of(load: Load, books: Books) -> Books:
    """The entries of one load's rides only."""
    mine = load.sent
    return Books(
        moves=[move for move in books.moves if move.ride in mine],
        quotes=[entry for entry in books.quotes if entry.ride in mine],
        payments=[entry for entry in books.payments if entry.ride in mine],
        mails=[mail for mail in books.mails if mail.ride in mine],
        filed={name: [ride for ride in rides if ride in mine] for name, rides in books.filed.items()},
        on_the_road={driver: ride for driver, ride in books.on_the_road.items() if ride in mine},
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def render(account: Account) -> str:
    """One line for a person."""
    told = (
        f"{account.fault:<14} sent {account.sent:>5}  completed {account.completed:>5}  lost {account.lost}  "
        f"doubled {account.duplicated_effects}  recovered {account.recovered_s:.1f} s  "
        f"slowest {account.slowest_s:.1f} s"
    )
    return "\n".join([told, *(f"    {finding}" for finding in account.findings[:10])])
