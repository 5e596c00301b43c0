"""What the demo says at its end: a table for people, and one line of JSON for machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from examples.ride.demo.check import Inconsistency

__all__ = ["Summary", "show", "show_inconsistencies", "show_problems"]

SHOWN = 20


@dataclass(frozen=True)
class Summary:
    """How it went. ``failed`` counts accepted runs that neither completed nor were compensated.

    ``notified`` counts mails that reached riders, ``copies`` those that came again and were
    suppressed; ``seconds`` is from the first request to the last answer of the rides.
    """

    trips: int
    accepted: int
    rejected: int
    completed: int
    compensated: int
    failed: int
    notified: int
    dead_letters: int
    inconsistencies: int
    seconds: float
    redriven: int
    early_ends: int
    repeated_ends: int
    copies: int
    retried: int
    broken: tuple[str, ...]

    def line(self) -> str:
        """The last line of the demo."""
        return json.dumps(asdict(self))


ROWS = {
    "trips": "trips sent",
    "accepted": "accepted by the gateway",
    "rejected": "refused by the gateway",
    "completed": "rides completed",
    "compensated": "rides undone, in reverse order",
    "failed": "rides that ended otherwise, or not at all",
    "notified": "mails that reached riders",
    "copies": "copies of a mail, suppressed by its Message-ID",
    "redriven": "dead letters redriven",
    "dead_letters": "dead letters left",
    "early_ends": "trips whose end came before anybody waited for it",
    "repeated_ends": "trips whose end was published twice",
    "retried": "requests that the client had to repeat",
    "inconsistencies": "inconsistencies between the books and the journal",
    "seconds": "seconds",
}


def show(console: Console, summary: Summary) -> None:
    """The table."""
    table = Table(title="The ride", show_header=False)
    for name, words in ROWS.items():
        value = getattr(summary, name)
        table.add_row(words, f"{value:.1f}" if isinstance(value, float) else f"{value:,}")
    if summary.seconds > 0:
        table.add_row("rides per second", f"{summary.accepted / summary.seconds:.1f}")
    for what in summary.broken:
        table.add_row("broken on the way", what)
    console.print(table)


def show_problems(console: Console, problems: Counter[str]) -> None:
    """What was wrong with what the gateway refused; a request may be wrong in several places."""
    if problems:
        table = Table("where, and what the contract wants", "requests", title="Refused")
        for what, times in problems.most_common(SHOWN):
            table.add_row(what, str(times))
        console.print(table)


def show_inconsistencies(console: Console, found: Sequence[Inconsistency]) -> None:
    """What does not hold, the first few of each kind."""
    if found:
        table = Table("kind", "ride", "detail", title="Inconsistencies")
        for inconsistency in found[:SHOWN]:
            table.add_row(inconsistency.kind, inconsistency.ride, inconsistency.detail)
        console.print(table)
        kinds = Counter(inconsistency.kind for inconsistency in found)
        console.print(", ".join(f"{kind}: {times}" for kind, times in kinds.most_common()))
