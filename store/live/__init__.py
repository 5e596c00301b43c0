"""What is hot and shared, and may be rebuilt: feeds, rate limits, small keys. See ``store.live.port``."""

from __future__ import annotations

from contracts.errors import ConfigurationError
from store.live.memory import MemoryLive
from store.live.port import Follower, Live
from store.live.redis import RedisLive

__all__ = ["Follower", "Live", "open_live"]


def open_live(url: str | None) -> Live:
    """The live store at ``redis://host:port/n``, or one inside this process (None, ``memory://``).

    Connects with the first call. Raises ConfigurationError for an URL that can't be right.
    """
    if url is None or url == "memory://":
        return MemoryLive()
    if url.startswith(("redis://", "rediss://", "unix://")):
        return RedisLive(url)
    raise ConfigurationError(
        f"no such live store: {url.partition(':')[0]!r}; use redis://host:port/0, or leave it out"
    )
