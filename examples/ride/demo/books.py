"""What the services and the sink have written down, read from the ledger's file as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FILES", "Books", "Entry", "Mail", "Move", "count_reactions", "read_books"]


@dataclass(frozen=True, slots=True)
class Move:
    """One entry of the drivers' book: matched, dispatched, released or freed."""

    seq: int
    what: str
    ride: str
    driver: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry about money in US cents: quoted, withdrawn; authorized, voided, captured."""

    what: str
    ride: str
    cents: int


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail in a rider's mailbox. ``copies`` counts how often it came with that Message-ID."""

    ride: str
    about: str
    copies: int = 1


@dataclass
class Books:
    """All of them. ``filed`` holds, by reactor, the rides that it has filed, once per row."""

    moves: list[Move] = field(default_factory=list)
    quotes: list[Entry] = field(default_factory=list)
    payments: list[Entry] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    filed: dict[str, list[str]] = field(default_factory=dict)
    on_the_road: dict[str, str] = field(default_factory=dict)  # driver -> ride, as the drivers' list says

    def rides(self) -> Iterator[str]:
        """Every ride that any of the books mentions."""
        yield from (move.ride for move in self.moves)
        yield from (entry.ride for entry in (*self.quotes, *self.payments))
        yield from (mail.ride for mail in self.mails)
        for rides in self.filed.values():
            yield from rides


FILES = {"receipts": "receipts", "driver_earnings": "earnings", "city_stats": "statistics"}


def read_books(ledger: Path, mailbox: Path) -> Books:
    """Read both files; nobody needs to have closed them."""
    with closing(sqlite3.connect(ledger, timeout=30)) as db, closing(sqlite3.connect(mailbox)) as box:
        return Books(
            moves=[
                Move(*row) for row in db.execute("SELECT seq, what, ride, driver FROM moves ORDER BY seq")
            ],
            quotes=[Entry(*row) for row in db.execute("SELECT what, ride, amount_cents FROM quotes")],
            payments=[Entry(*row) for row in db.execute("SELECT what, ride, amount_cents FROM payments")],
            mails=[Mail(*row) for row in box.execute("SELECT ride, about, copies FROM mailbox")],
            filed={
                reactor: [ride for (ride,) in db.execute(f"SELECT ride FROM {table}")]  # noqa: S608
                for reactor, table in FILES.items()  # the tables' names are ours
            },
            on_the_road=dict(db.execute("SELECT driver, ride FROM drivers WHERE ride IS NOT NULL")),
        )


def count_reactions(ledger: Path, mailbox: Path) -> int:
    """How many mails and filings there are: what the reactors have done so far, and cheap to ask."""
    with closing(sqlite3.connect(ledger, timeout=30)) as db, closing(sqlite3.connect(mailbox)) as box:
        counts = [db.execute(f"SELECT count(*) FROM {table}") for table in FILES.values()]  # noqa: S608
        counts.append(box.execute("SELECT count(*) FROM mailbox"))
        return sum(int(count.fetchone()[0]) for count in counts)
