"""The newest entries of one feed in this process, and a bell for those who wait for more."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable
from typing import SupportsBytes

from store.live.port import Entry

__all__ = ["BEGINNING", "Place", "Ring", "as_id", "as_place"]

Place = tuple[int, int]  # an entry's id, so that it can be compared

BEGINNING: Place = (0, 0)


class Ring:
    """Holds every entry behind ``start``, of which at most the newest ``keep`` (or a few more) are kept.

    ``generation`` grows when entries may have been missed: what a follower held by then is to be
    checked against the feed itself.
    """

    def __init__(self, start: Place, keep: int) -> None:
        self.start = start
        self.keep = keep
        self.generation = 0
        self.grown = asyncio.Event()
        self._places: list[Place] = []
        self._entries: list[SupportsBytes] = []  # ids and bytes are made for those who read, who are few

    @property
    def end(self) -> Place:
        """The place of the newest entry."""
        return self._places[-1] if self._places else self.start

    def append(self, place: Place, data: SupportsBytes) -> None:
        """Add an entry behind all others. ``ring`` wakes those who wait."""
        self._places.append(place)
        self._entries.append(data)

    def extend(self, places: Iterable[Place], entries: Iterable[SupportsBytes]) -> None:
        """Add some in their order, as ``append`` does with one."""
        self._places.extend(places)
        self._entries.extend(entries)

    def ring(self) -> None:
        """Drop what is too old, and wake whoever waits for entries."""
        surplus = len(self._places) - self.keep
        # Not one by one: moving the rest of the list costs as much for one as for a quarter of it.
        if surplus > self.keep // 4:
            self.start = self._places[surplus - 1]
            del self._places[:surplus]
            del self._entries[:surplus]
        self.wake()

    def wake(self) -> None:
        self.grown.set()
        self.grown = asyncio.Event()

    def restart(self, start: Place) -> None:
        """Begin again at ``start``: entries may have been missed."""
        self.start = start
        self._places.clear()
        self._entries.clear()
        self.generation += 1
        self.wake()

    def has(self, place: Place) -> bool:
        """Whether an entry is at ``place``."""
        index = bisect_right(self._places, place)
        return index > 0 and self._places[index - 1] == place

    def behind(self, place: Place, most: int) -> list[Entry] | None:
        """The entries behind ``place``, oldest first; None when some of them may be gone from here."""
        if place < self.start:
            return None
        return self._from(bisect_right(self._places, place), most)

    def oldest(self, most: int) -> list[Entry]:
        return self._from(0, most)

    def _from(self, index: int, most: int) -> list[Entry]:
        places = map(as_id, self._places[index : index + most])
        return list(zip(places, map(bytes, self._entries[index : index + most]), strict=True))


def as_place(id: str) -> Place | None:
    """The place that an id names; None when it is no id."""
    moment, dash, number = id.partition("-")
    if not (dash and moment.isascii() and moment.isdecimal() and number.isascii() and number.isdecimal()):
        return None
    if len(moment) > 19 or len(number) > 19:  # beyond 64 bits: no store of ours gave it
        return None
    return int(moment), int(number)


def as_id(place: Place) -> str:
    return f"{place[0]}-{place[1]}"
