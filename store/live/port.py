"""The live port: what many processes share, often and fast, and what may be rebuilt when it is lost.

One suite, ``tests/store``, holds both adapters to every sentence below.

*Feeds*
    Append-only, each entry with an id (``milliseconds-number``) that is greater than all before it. A
    feed keeps at least its newest ``keep`` entries (never fewer than 100), and is gone a day after its
    last append. A place in a feed is the id of an entry; when that entry is no longer kept, what
    followed it may be missing, and that is said (FeedTrimmed), never passed over.
*Followers*
    Hold a place, not a copy: a slow follower costs no memory. One that asked for a place is told
    FeedTrimmed when it fell further behind than the feed is kept, or when the feed was lost. One that
    follows from "$" asked for what comes, and goes on with the oldest entry there is. A follower
    outlives the loss of the connection.
*Buckets*
    Token buckets on the clock of the shared store, so that several processes have one limit.
*Keys*
    Small values with a time to live; ``replace`` is compare-and-set.

When the store is gone, calls raise LiveUnavailable within about a second, and at once while it is
known to be gone; it is tried again by itself.
"""

from __future__ import annotations

from typing import Protocol, Self, SupportsBytes

__all__ = ["LEAST_KEPT", "Entry", "Follower", "Live"]

LEAST_KEPT = 100  # entries of each feed

Entry = tuple[str, bytes]


class Follower(Protocol):
    """An iterator over the entries of one feed; ends when it or its Live is closed.

    Waiting for the next entry may be cancelled, and asked again, without losing one.
    """

    async def opened(self) -> None:
        """Return once the place is fixed: what is appended from now on will be seen.

        Iterating implies it. Waits for as long as the store is gone.
        """

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Entry:
        """Raises FeedTrimmed (see above)."""

    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self:
        """Like ``opened``."""

    async def __aexit__(self, *exception: object) -> None: ...


class Live(Protocol):
    """See the module. Every call but ``follow`` and ``close`` may raise LiveUnavailable."""

    async def append(self, feed: str, *entries: SupportsBytes, keep: int = 10_000) -> list[str]:
        """Append ``entries`` in one round trip; returns their ids, in order.

        Whoever reads gets ``bytes``. An entry that is something else is asked for them when it goes over a
        wire or is read, so that what nobody reads need not be written out.
        """

    async def read(self, feed: str, after: str | None, most: int = 100) -> list[Entry]:
        """The entries behind ``after``, oldest first; None: from the oldest kept.

        Raises FeedTrimmed when the entry ``after`` is not kept, or was never one of this feed.
        """

    def follow(self, feed: str, after: str | None = "$") -> Follower:
        """Follow a feed from behind ``after``; "$": only what is new; None: from the oldest kept."""

    async def allow(self, bucket: str, *, rate: float, burst: float) -> float:
        """Take one token: 0.0 when there was one, else how many seconds until there is.

        ``rate`` is tokens a second (> 0), ``burst`` how many it holds (>= 1); else ConfigurationError.
        """

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Set ``key``, for ``ttl`` seconds or until it is overwritten."""

    async def replace(self, key: str, old: bytes | None, new: bytes, *, ttl: float | None = None) -> bool:
        """Set ``key`` if its value is ``old`` (None: if it has none); returns whether it was."""

    async def ping(self) -> None:
        """Return when the store answers."""

    async def close(self) -> None:
        """End every follower, and give back the connections."""
