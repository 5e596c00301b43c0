"""A follower: a place in a feed. Reads from the process's ring, and from the feed itself when behind."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol, Self

from contracts.errors import FeedTrimmed, LiveUnavailable
from store.live.port import Entry
from store.live.ring import BEGINNING, Place, Ring, as_id, as_place

__all__ = ["FeedFollower", "Source"]

PAGE = 100
RETRY = 0.2  # s: how often an unreachable store is asked again


class Source(Protocol):
    """What a follower needs of its adapter; both may raise LiveUnavailable."""

    async def join(self, feed: str, follower: FeedFollower) -> tuple[Ring, Place]:
        """The ring of ``feed``, kept up to date while ``follower`` lives, and the feed's newest place."""

    async def read(self, feed: str, after: str | None, most: int = 100) -> list[Entry]:
        """See ``Live.read``."""


class FeedFollower:
    """See ``store.live.port.Follower``."""

    def __init__(self, source: Source, feed: str, after: str | None) -> None:
        self._source = source
        self._feed = feed
        self._after = after
        self._ring: Ring | None = None
        self._place = BEGINNING
        self._generation = 0
        self._page: deque[Entry] = deque()
        self._closed = False

    async def opened(self) -> None:
        while self._ring is None and not self._closed:
            try:
                ring, newest = await self._source.join(self._feed, self)
            except LiveUnavailable:
                await asyncio.sleep(RETRY)
                continue
            self._place = self._first_place(newest)
            self._generation = ring.generation
            if self._after not in (None, "$"):
                self._generation -= 1  # whether that place is kept, the feed itself must say
            self._ring = ring

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        await self.opened()
        while not self._page:
            if self._closed or self._ring is None:
                raise StopAsyncIteration
            grown = self._ring.grown  # before looking, so that nothing comes in between
            entries = self._near(self._ring)
            if entries is None:
                entries = await self._far(self._ring)
            elif not entries:
                await grown.wait()
            self._page.extend(entries)
        if self._closed:
            raise StopAsyncIteration
        entry = self._page.popleft()
        self._place = as_place(entry[0]) or self._place
        return entry

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration, also for a task that waits in it."""
        self._closed = True
        if self._ring is not None:
            self._ring.wake()

    async def __aenter__(self) -> Self:
        await self.opened()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()

    def _first_place(self, newest: Place) -> Place:
        if self._after is None:
            return BEGINNING
        if self._after == "$":
            return newest
        place = as_place(self._after)
        if place is None:
            raise FeedTrimmed(f"{self._after!r} is not an id of the feed {self._feed}")
        return place

    def _near(self, ring: Ring) -> list[Entry] | None:
        """What the ring has behind this place; None when only the feed itself can tell."""
        if ring.generation != self._generation:
            return None
        return ring.behind(self._place, PAGE)

    async def _far(self, ring: Ring) -> list[Entry]:
        generation, start = ring.generation, ring.start
        after = None if self._place == BEGINNING else as_id(self._place)
        try:
            entries = await self._source.read(self._feed, after, PAGE)
        except LiveUnavailable:
            await asyncio.sleep(RETRY)
            return []
        except FeedTrimmed:
            if self._after != "$":
                raise
            self._place = BEGINNING  # it asked for what comes: from the oldest that is left
            return []
        self._generation = generation
        if not entries:  # nothing is kept from before the ring began
            self._place = max(self._place, start)
        return entries
