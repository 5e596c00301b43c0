"""Puts what happened in several processes into one order.

Each process writes its own clock, and clocks differ. So a time alone orders nothing here: a run's
facts stay in the order of their numbers, and an effect never comes before its cause.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

__all__ = ["Entry", "arrange"]

_KINDS = ("audit", "fact", "event", "reaction", "dead_letter", "missing")  # at one instant, in this order


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing on the timeline.

    ``at`` is the time that its process wrote, ``order`` the time it is shown at: later than ``at``
    where that clock was behind its cause's. ``cause`` is the id of the entry that caused it. The
    other fields are how causes are found: ``gives`` are the message ids that this entry sent,
    ``caused_by`` and ``or_by`` message ids that it came from, ``after`` an entry's id.
    """

    id: str
    kind: str
    lane: str
    type: str
    at: float
    detail: dict[str, Any]
    seq: int = 0
    cause: str | None = None
    order: float = 0.0
    gives: tuple[str, ...] = field(default=(), repr=False)
    caused_by: str | None = field(default=None, repr=False)
    or_by: str | None = field(default=None, repr=False)
    after: str | None = field(default=None, repr=False)


def arrange(entries: Sequence[Entry]) -> list[Entry]:
    """The entries in order, each with its cause. Pure."""
    causes = _causes(entries)
    before = _constraints(entries, causes)
    waiting = {entry.id: len(before[entry.id]) for entry in entries}
    follows: dict[str, list[str]] = {}
    for id, earlier in before.items():
        for cause in earlier:
            follows.setdefault(cause, []).append(id)
    by_id = {entry.id: entry for entry in entries}
    ready = [_place(entry, entry.at) for entry in entries if not waiting[entry.id]]
    heapq.heapify(ready)
    shown: dict[str, float] = {}
    arranged: list[Entry] = []
    while ready:
        order, *_, id = heapq.heappop(ready)
        shown[id] = order
        arranged.append(replace(by_id[id], order=order, cause=causes.get(id)))
        for next_id in follows.get(id, ()):
            waiting[next_id] -= 1
            if not waiting[next_id]:
                at = max(by_id[next_id].at, *(shown[cause] for cause in before[next_id]))
                heapq.heappush(ready, _place(by_id[next_id], at))
    # A circle of causes can't happen unless ids were made up; show what is in it all the same.
    rest = [entry for entry in entries if entry.id not in shown]
    return arranged + [replace(entry, order=entry.at) for entry in sorted(rest, key=lambda e: (e.at, e.id))]


def _causes(entries: Sequence[Entry]) -> dict[str, str]:
    """The entry that caused each: an event for what reacted to it, else the fact that sent it."""
    senders: dict[str, str] = {}
    carriers: dict[str, str] = {}
    for entry in entries:
        for message in entry.gives:
            (carriers if entry.kind == "event" else senders).setdefault(message, entry.id)
    there = {entry.id for entry in entries}
    causes: dict[str, str] = {}
    for entry in entries:
        known = {id for id in (entry.caused_by, entry.or_by) if id}
        if entry.kind == "event":
            candidates = [
                senders.get(entry.caused_by or ""),
                *(map(senders.get, known)),
                *map(carriers.get, known),
            ]
        else:
            candidates = [*map(carriers.get, known), *map(senders.get, known)]
        cause = (
            entry.after
            if entry.after in there
            else next((id for id in candidates if id and id != entry.id), None)
        )
        if cause is not None:
            causes[entry.id] = cause
    return causes


def _constraints(entries: Sequence[Entry], causes: dict[str, str]) -> dict[str, set[str]]:
    """What must come before each entry: its cause, and the fact before it in the same run."""
    before: dict[str, set[str]] = {
        entry.id: {causes[entry.id]} if entry.id in causes else set() for entry in entries
    }
    lanes: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.kind == "fact":
            lanes.setdefault(entry.lane, []).append(entry)
    for facts in lanes.values():
        facts.sort(key=lambda fact: fact.seq)
        for earlier, later in pairwise(facts):
            before[later.id].add(earlier.id)
    return before


def _place(entry: Entry, order: float) -> tuple[float, int, str, int, str]:
    return (order, _KINDS.index(entry.kind), entry.lane, entry.seq, entry.id)
