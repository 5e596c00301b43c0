"""Redis stopped and started again: what is refused, how fast, and what comes back by itself."""

from __future__ import annotations

import asyncio
import gc

import pytest

from antiphon.devservices import Redis
from contracts.errors import FeedTrimmed, LiveUnavailable
from store.live.gate import Gate
from store.live.redis import RedisLive


async def until_it_answers(live: RedisLive) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                return await live.ping()
            except LiveUnavailable:
                await asyncio.sleep(0.05)


async def test_without_redis_calls_are_refused_and_come_back(redis_server: Redis, name: str) -> None:
    """While Redis is stopped every call raises LiveUnavailable; when it is back, calls work again."""
    live = RedisLive(redis_server.url)
    await live.put(name, b"kept")
    redis_server.stop()
    try:
        calls = [
            lambda: live.append(name, b"x"),
            lambda: live.read(name, None),
            lambda: live.allow(name, rate=1, burst=1),
            lambda: live.get(name),
            lambda: live.put(name, b"x"),
            lambda: live.replace(name, None, b"x"),
            live.ping,
        ]
        async with asyncio.timeout(5):
            for call in calls:
                with pytest.raises(LiveUnavailable, match=r"Redis at redis://127\.0\.0\.1"):
                    await call()
    finally:
        redis_server.start()
    await until_it_answers(live)
    assert await live.get(name) == b"kept"
    await live.close()


async def test_a_server_that_accepts_and_never_answers_is_unavailable() -> None:
    """A hanging server costs one timeout, and the next calls fail at once."""
    held = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    live = RedisLive(f"redis://:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/0", clock=lambda: 0.0)
    async with asyncio.timeout(10):
        with pytest.raises(LiveUnavailable) as refused:
            await live.ping()
        assert "secret" not in str(refused.value)
        connections = len(held)
        for _ in range(100):
            with pytest.raises(LiveUnavailable):
                await live.ping()
        assert len(held) == connections  # nobody asked the server again
        await live.close()
    for writer in held:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_followers_outlive_an_outage(redis_server: Redis, name: str) -> None:
    """After a restart that kept the feed, every follower goes on, and sees each entry once."""
    live, other = RedisLive(redis_server.url), RedisLive(redis_server.url)
    (first,) = await live.append(name, b"0")
    followers = [live.follow(name), live.follow(name, first), live.follow(name, None)]
    for follower in followers:
        await follower.opened()
    await live.append(name, b"1")
    redis_server.stop()
    await asyncio.sleep(0.3)
    redis_server.start()
    await until_it_answers(other)
    await other.append(name, b"2", b"3")
    async with asyncio.timeout(20):
        seen = [[(await anext(follower))[1] for _ in range(3)] for follower in followers[:2]]
        assert seen == [[b"1", b"2", b"3"]] * 2
        assert [(await anext(followers[2]))[1] for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    await live.close()
    await other.close()


async def test_a_follower_may_begin_while_redis_is_gone(redis_server: Redis, name: str) -> None:
    """Opening waits for the store, and then follows."""
    live = RedisLive(redis_server.url)
    redis_server.stop()
    try:
        follower = live.follow(name)
        opening = asyncio.ensure_future(follower.opened())
        await asyncio.sleep(0.3)
        assert not opening.done()
    finally:
        redis_server.start()
    async with asyncio.timeout(20):
        await opening
        await live.append(name, b"1")
        assert (await anext(follower))[1] == b"1"
    await live.close()


async def test_a_feed_lost_in_an_outage_is_told(redis_server: Redis, name: str) -> None:
    """When Redis comes back without the feed, who held a place is told, and who asked for news gets it."""
    live, other = RedisLive(redis_server.url), RedisLive(redis_server.url)
    (first,) = await live.append(name, b"0")
    placed, newest = live.follow(name, first), live.follow(name)
    await placed.opened()
    await newest.opened()
    await live.append(name, b"1")
    assert (await anext(placed))[1] == (await anext(newest))[1] == b"1"
    await other.call(lambda client: client.delete(f"antiphon:feed:{name}"))
    redis_server.restart()
    await until_it_answers(other)
    await other.append(name, b"2")
    async with asyncio.timeout(20):
        assert (await anext(newest))[1] == b"2"
        with pytest.raises(FeedTrimmed):
            await anext(placed)
    await live.close()
    await other.close()


async def test_followers_that_are_dropped_are_no_longer_read_for(redis_server: Redis, name: str) -> None:
    """The reader ends when nobody follows, and begins again with the next follower."""
    live = RedisLive(redis_server.url)
    await live.follow(name).opened()
    async with asyncio.timeout(10):
        while any(task.get_name() == "antiphon-live-reader" for task in asyncio.all_tasks()):
            # Connecting to a Redis before 7.2, the client leaves an error that refers to itself, and to the
            # frames of whoever asked: from Python 3.13 on up to the follower.
            gc.collect()
            await asyncio.sleep(0.05)
        async with live.follow(name) as follower:
            await live.append(name, b"1")
            assert (await anext(follower))[1] == b"1"
    await live.close()


def test_a_gate_lets_one_try_after_each_pause() -> None:
    """Pauses double up to two seconds; one success opens it."""
    now = [100.0]
    gate = Gate(lambda: now[0])
    pauses = []
    for _ in range(6):
        gate.enter()
        gate.failed("gone")
        began = now[0]
        while True:
            try:
                gate.enter()
            except LiveUnavailable:
                now[0] += 0.05
                continue
            break
        with pytest.raises(LiveUnavailable, match="gone"):
            gate.enter()  # somebody tries already
        pauses.append(round(now[0] - began, 2))
        now[0] += 5
    assert pauses == pytest.approx([0.25, 0.5, 1.0, 2.0, 2.0, 2.0], abs=0.06)
    gate.succeeded()
    gate.enter()
    gate.enter()
