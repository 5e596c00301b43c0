"""The live port on Redis (6.2 or newer): streams, and Lua where a step must be one.

Every call is one round trip. Connections for calls and the one that waits for feeds are apart.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, SupportsBytes
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from contracts.errors import ConfigurationError, FeedTrimmed, LiveUnavailable
from store.live import scripts
from store.live.bucket import check_bucket
from store.live.follower import FeedFollower
from store.live.gate import Gate
from store.live.hub import Hub
from store.live.port import LEAST_KEPT, Entry
from store.live.ring import BEGINNING, Place, Ring, as_id, as_place

__all__ = ["RedisLive"]

PREFIX = "antiphon:"
TIMEOUT = 1.0  # s: for one call, with connecting
BLOCK = 1.0  # s: how long one wait for feeds takes
FEED_TTL = 86_400  # s after the last append
CONNECTIONS = 16
AT_ONCE = 500  # entries of one feed that one wait brings


class RedisLive:
    """See ``store.live.port.Live``. Connects with the first call: it can be made while Redis is gone."""

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.monotonic, name: str | None = None
    ) -> None:
        self._client = _client(url, TIMEOUT, CONNECTIONS)
        self._scripts = {source: self._client.register_script(source) for source in scripts.ALL}
        self._gate = Gate(clock)
        self._waiter = _Waiter(url, self, f"{PREFIX}wake:{name or uuid.uuid4().hex}")
        self._hub = Hub(self._waiter)
        self._where = _without_password(url)
        self._closed = False

    async def append(self, feed: str, *entries: SupportsBytes, keep: int = 10_000) -> list[str]:
        if not entries:
            return []
        told = map(bytes, entries)
        ids = await self.run(scripts.APPEND, _feed(feed), max(keep, LEAST_KEPT), FEED_TTL, *told)
        return [id.decode() for id in ids]

    async def read(self, feed: str, after: str | None, most: int = 100) -> list[Entry]:
        if after is not None and as_place(after) is None:
            raise FeedTrimmed(f"{after!r} is not an id of the feed {feed}")
        found = await self.run(scripts.READ, _feed(feed), after or "", most)
        if found is None:
            raise FeedTrimmed(f"the feed {feed} no longer keeps {after!r}; read afresh")
        return [(id.decode(), fields[1]) for id, fields in found]

    def follow(self, feed: str, after: str | None = "$") -> FeedFollower:
        return FeedFollower(self, feed, after)

    async def join(self, feed: str, follower: FeedFollower) -> tuple[Ring, Place]:
        """See ``store.live.follower.Source``."""
        if self._closed:
            follower.close()
        return await self._hub.join(feed, follower)

    async def allow(self, bucket: str, *, rate: float, burst: float) -> float:
        check_bucket(bucket, rate, burst)
        return float(await self.run(scripts.TAKE, f"{PREFIX}bucket:{bucket}", repr(rate), repr(burst)))

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self.call(lambda client: client.get(_key(key)))
        return value

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self.call(lambda client: client.set(_key(key), value, px=_milliseconds(ttl)))

    async def replace(self, key: str, old: bytes | None, new: bytes, *, ttl: float | None = None) -> bool:
        arguments = (new, _milliseconds(ttl) or 0, *(() if old is None else (old,)))
        return bool(await self.run(scripts.REPLACE, _key(key), *arguments))

    async def ping(self) -> None:
        await self.call(lambda client: client.ping())

    async def close(self) -> None:
        self._closed = True
        await self._hub.close()
        await self._waiter.close()
        await self._client.aclose()

    async def call(self, command: Callable[[Redis], Awaitable[Any]]) -> Any:
        """Run one command. Raises LiveUnavailable."""
        if self._closed:
            raise LiveUnavailable("the live store was closed")
        self._gate.enter()
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await command(self._client)
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            reason = f"Redis at {self._where} did not answer: {type(error).__name__} {error}".rstrip()
            self._gate.failed(reason)
            raise LiveUnavailable(reason) from error
        self._gate.succeeded()
        return answer

    async def run(self, script: str, key: str, *arguments: Any) -> Any:
        """Run one of ``store.live.scripts``. Raises LiveUnavailable."""
        return await self.call(lambda _: self._scripts[script](keys=[key], args=arguments))


class _Waiter:
    """See ``store.live.hub.Feeds``. Its connection blocks, and is woken through a stream of its own."""

    def __init__(self, url: str, live: RedisLive, wake_key: str) -> None:
        self._client = _client(url, BLOCK + TIMEOUT, 1)
        self._live = live
        self._wake_key = wake_key
        self._woken: Place = BEGINNING

    async def newest(self, feed: str) -> Place:
        found = await self._live.call(lambda client: client.xrevrange(_feed(feed), count=1))
        return _place(found[0][0]) if found else BEGINNING

    async def keeps(self, feed: str, place: Place) -> bool:
        id = as_id(place)
        return bool(await self._live.call(lambda client: client.xrange(_feed(feed), min=id, max=id)))

    async def wait(self, places: Mapping[str, Place]) -> dict[str, list[tuple[Place, bytes]]]:
        streams: dict[Any, Any] = {_feed(feed): as_id(place) for feed, place in places.items()}
        streams[self._wake_key] = as_id(self._woken)
        try:
            async with asyncio.timeout(BLOCK + TIMEOUT):
                found: Any = await self._client.xread(streams, count=AT_ONCE, block=int(BLOCK * 1000))
        except (RedisError, OSError) as error:
            raise LiveUnavailable(f"Redis did not answer: {error}") from error
        names = {_feed(feed).encode(): feed for feed in places}
        grown = {}
        for stream, entries in found:
            if stream in names:
                grown[names[stream]] = [(_place(id), fields[b"d"]) for id, fields in entries]
            else:
                self._woken = _place(entries[-1][0])
        return grown

    async def wake(self) -> None:
        await self._live.run(scripts.APPEND, self._wake_key, 1, int(60 * BLOCK), b"")

    async def close(self) -> None:
        await self._client.aclose()


def _client(url: str, timeout: float, connections: int) -> Redis:
    _refuse_unverified(url)
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=TIMEOUT,
            protocol=2,
            retry=Retry(NoBackoff(), 0),  # an append that is repeated unseen would be there twice
        )
    except ValueError as error:
        raise ConfigurationError(f"the live store's URL can't be read: {error}") from error
    return Redis.from_pool(pool)


def _refuse_unverified(url: str) -> None:
    """Certificate and host name are always verified. Raises ConfigurationError for a URL that says no."""
    for name, value in parse_qsl(urlsplit(url).query):
        if (name == "ssl_cert_reqs" and value != "required") or (
            name == "ssl_check_hostname" and value.lower() in ("", "0", "n", "f", "no", "false")
        ):
            raise ConfigurationError(
                f"the live store's URL says {name}={value}: certificate and host name are always verified; "
                "give the CA of its certificate in ANTIPHON_TLS_CA (ssl_ca_certs)"
            )


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _feed(feed: str) -> str:
    return f"{PREFIX}feed:{feed}"


def _key(key: str) -> str:
    return f"{PREFIX}key:{key}"


def _milliseconds(ttl: float | None) -> int | None:
    return None if ttl is None else max(1, round(ttl * 1000))


def _place(id: bytes) -> Place:
    moment, _, number = id.partition(b"-")
    return int(moment), int(number)
