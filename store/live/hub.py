"""One reader for all the feeds that this process follows, whatever the number of followers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol
from weakref import WeakSet

from contracts.errors import LiveUnavailable
from store.live.follower import FeedFollower
from store.live.port import LEAST_KEPT
from store.live.ring import BEGINNING, Place, Ring

__all__ = ["Feeds", "Hub"]

RING = 1_000  # entries of a feed that a process keeps for its followers
FIRST_PAUSE = 0.1  # s
LONGEST_PAUSE = 1.0  # s

Grown = Mapping[str, list[tuple[Place, bytes]]]


class Feeds(Protocol):
    """The blocking side of an adapter. Every call may raise LiveUnavailable."""

    async def newest(self, feed: str) -> Place:
        """The place of the newest entry; (0, 0) for an empty feed."""

    async def keeps(self, feed: str, place: Place) -> bool:
        """Whether the entry at ``place`` is still there."""

    async def wait(self, places: Mapping[str, Place]) -> Grown:
        """What came behind ``places``; waits for about a second, or until ``wake``, when nothing did."""

    async def wake(self) -> None:
        """End a ``wait`` that is under way, or the next one."""


class Hub:
    """Keeps a ring for each feed that somebody follows. The reader runs only while somebody does."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        self._rings: dict[str, Ring] = {}
        # Weakly: a follower that was just dropped must not be read for until the end of time.
        self._followers: dict[str, WeakSet[FeedFollower]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    async def join(self, feed: str, follower: FeedFollower) -> tuple[Ring, Place]:
        """See ``store.live.follower.Source``."""
        newest = await self._feeds.newest(feed)
        ring = self._rings.get(feed)
        if ring is None:
            ring = self._rings[feed] = Ring(newest, RING)
            self._followers[feed] = WeakSet()
        self._followers[feed].add(follower)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="antiphon-live-reader")
        else:
            await self._feeds.wake()
        return ring, newest

    async def close(self) -> None:
        for followers in self._followers.values():
            for follower in list(followers):
                follower.close()
        self._closed = True
        # More than once: before Python 3.12 asyncio.wait_for, which the client uses, can swallow one.
        while self._reader is not None and not self._reader.done():
            self._reader.cancel()
            await asyncio.wait([self._reader], timeout=0.1)

    async def _read(self) -> None:
        pause = 0.0
        while not self._closed and self._forget():
            try:
                if pause:
                    await asyncio.sleep(pause)
                    await self._check()
                grown = await self._feeds.wait({feed: ring.end for feed, ring in self._rings.items()})
                for feed, entries in grown.items():
                    await self._add(feed, entries)
            except LiveUnavailable:
                pause = min(max(FIRST_PAUSE, pause * 2), LONGEST_PAUSE)
                continue
            pause = 0.0

    def _forget(self) -> bool:
        """Drop the rings that nobody follows; whether any is left."""
        for feed in [feed for feed, followers in self._followers.items() if not followers]:
            del self._followers[feed], self._rings[feed]
        return bool(self._rings)

    async def _check(self) -> None:
        """After an outage: where the place we had read up to is gone, entries may have been missed."""
        for feed, ring in list(self._rings.items()):
            if ring.end != BEGINNING and not await self._feeds.keeps(feed, ring.end):
                ring.restart(await self._feeds.newest(feed))

    async def _add(self, feed: str, entries: list[tuple[Place, bytes]]) -> None:
        ring = self._rings[feed]
        # Fewer than what every feed keeps can have left nothing out; more may be what is left of many.
        if len(entries) >= LEAST_KEPT and not await self._feeds.keeps(feed, ring.end):
            ring.restart(await self._feeds.newest(feed))
            return
        for place, data in entries:
            ring.append(place, data)
        ring.ring()
