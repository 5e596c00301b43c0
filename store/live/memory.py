"""The live port inside one process: the same promises, for a laptop with nothing installed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import SupportsBytes
from weakref import WeakSet

from contracts.errors import FeedTrimmed, LiveUnavailable
from store.live.bucket import check_bucket, take
from store.live.follower import FeedFollower
from store.live.port import LEAST_KEPT, Entry
from store.live.ring import BEGINNING, Place, Ring, as_id, as_place

__all__ = ["MemoryLive"]

FEED_TTL = 86_400.0  # s after the last append
SWEEP = 60.0  # s between two looks for what has expired


class MemoryLive:
    """See ``store.live.port.Live``. ``clock`` gives seconds since the epoch."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._feeds: dict[str, Ring] = {}
        self._feeds_end: dict[str, float] = {}
        self._followers: WeakSet[FeedFollower] = WeakSet()
        self._keys: dict[str, tuple[bytes, float | None]] = {}  # value, when it expires
        self._buckets: dict[str, tuple[float, float, float]] = {}  # tokens, at, when it is full again
        self._swept = clock()
        self._closed = False

    async def append(self, feed: str, *entries: SupportsBytes, keep: int = 10_000) -> list[str]:
        self._begin()
        ring = self._ring(feed)
        ring.keep = max(keep, LEAST_KEPT)
        moment, number = max((int(self._clock() * 1000), 0), (ring.end[0], ring.end[1] + 1))
        places = [(moment, at) for at in range(number, number + len(entries))]
        ring.extend(places, entries)
        ring.ring()
        self._feeds_end[feed] = self._clock() + FEED_TTL
        return list(map(as_id, places))

    async def read(self, feed: str, after: str | None, most: int = 100) -> list[Entry]:
        self._begin()
        ring = self._feeds.get(feed)
        if after is None:
            return ring.oldest(most) if ring else []
        place = as_place(after)
        entries = ring.behind(place, most) if ring and place and ring.has(place) else None
        if entries is None:
            raise FeedTrimmed(f"the feed {feed} no longer keeps {after!r}; read afresh")
        return entries

    def follow(self, feed: str, after: str | None = "$") -> FeedFollower:
        follower = FeedFollower(self, feed, after)
        self._followers.add(follower)
        if self._closed:
            follower.close()
        return follower

    async def join(self, feed: str, follower: FeedFollower) -> tuple[Ring, Place]:
        """See ``store.live.follower.Source``."""
        ring = self._ring(feed)
        return ring, ring.end

    async def allow(self, bucket: str, *, rate: float, burst: float) -> float:
        check_bucket(bucket, rate, burst)
        self._begin()
        now = self._clock()
        tokens, at, _ = self._buckets.get(bucket, (burst, now, now))
        tokens, wait = take(tokens, now - at, rate=rate, burst=burst)
        self._buckets[bucket] = (tokens, now, now + (burst - tokens) / rate)
        return wait

    async def get(self, key: str) -> bytes | None:
        self._begin()
        value, until = self._keys.get(key, (None, None))
        return value if until is None or until > self._clock() else None

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self._begin()
        self._keys[key] = (value, None if ttl is None else self._clock() + ttl)

    async def replace(self, key: str, old: bytes | None, new: bytes, *, ttl: float | None = None) -> bool:
        if await self.get(key) != old:
            return False
        await self.put(key, new, ttl=ttl)
        return True

    async def ping(self) -> None:
        self._begin()

    async def close(self) -> None:
        self._closed = True
        for follower in list(self._followers):
            follower.close()

    def _ring(self, feed: str) -> Ring:
        if feed not in self._feeds:
            self._feeds[feed] = Ring(BEGINNING, keep=10_000)
        return self._feeds[feed]

    def _begin(self) -> None:
        if self._closed:
            raise LiveUnavailable("the live store was closed")
        now = self._clock()
        if now - self._swept >= SWEEP:
            self._swept = now
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        for feed in [feed for feed, end in self._feeds_end.items() if end <= now]:
            del self._feeds_end[feed]
            self._feeds[feed].restart(BEGINNING)
        for key in [key for key, (_, until) in self._keys.items() if until is not None and until <= now]:
            del self._keys[key]
        for bucket in [bucket for bucket, (_, _, full) in self._buckets.items() if full <= now]:
            del self._buckets[bucket]
