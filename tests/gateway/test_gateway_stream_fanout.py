"""However many streams are open, one reader of this process reads each feed from Redis, for all of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import orjson
import pytest
import redis.asyncio as redis

from antiphon.devservices import Redis
from gateway.app import create_gateway
from store.live import open_live
from tests.gateway.house import WORKSPACE, House, served, until
from tests.gateway.test_gateway_streams import reading

STREAMS = 50
ENTRIES = 40


async def test_fifty_streams_share_one_follower_of_redis(
    house: House, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection waits in Redis, entries are fetched once, and each stream gets each of them in order."""
    monkeypatch.setattr(
        "store.live.redis.TIMEOUT", 20.0
    )  # a disk that is slow for a second is not the matter
    live = open_live(redis_server.url)
    asking = redis.from_url(redis_server.url)

    async def waiting() -> int:
        return int((await asking.info("clients"))["blocked_clients"])

    async def reads() -> int:
        calls = await asking.info("commandstats")
        return sum(int(calls.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("xread", "xrange"))

    try:
        assert await waiting() == 0
        app = create_gateway(replace(house.platform, live=live))
        async with served(app) as url, AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(reading(house, url, "/events/stream")) for _ in range(STREAMS)
            ]

            async def one() -> bool:
                return await waiting() == 1

            await until(one, "one connection that waits")
            before = await reads()
            for number in range(ENTRIES):
                entry = {"kind": "fact", "type": "t", "number": number, "correlation": "c"}
                await live.append(f"ws/{WORKSPACE}", orjson.dumps(entry))
            for reader in readers:
                got = [(await reader.next())[1]["number"] for _ in range(ENTRIES)]
                assert got == list(range(ENTRIES))
            # At the worst one read for each entry, and some that end with nothing: not fifty for each.
            assert await reads() - before < STREAMS + 2 * ENTRIES
            assert await waiting() == 1
        async with asyncio.timeout(20):
            while await waiting():
                await asyncio.sleep(0.05)
    finally:
        await live.close()
        await asking.aclose()
