"""The stream that keeps an open page current: told once, at once after a gap, and over when it should be."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from contracts.errors import StoreUnavailable
from gateway.app import end_streams
from gateway.dashboard import streaming
from gateway.dashboard.streaming import OVER, changes
from store.live.memory import MemoryLive
from store.tables import keys
from tests.gateway.dashboard.scene import WORKSPACE, Scene

FEED, LIMIT = "ws/nyc", 10.0


@pytest.fixture
async def live() -> AsyncIterator[MemoryLive]:
    """A live store in this process."""
    live = MemoryLive()
    yield live
    await live.close()


class State:
    """What a page shows, as its stamp."""

    def __init__(self, stamp: str) -> None:
        self.stamp = stamp
        self.asked = 0
        self.away = False

    async def __call__(self) -> str:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("the database is away")
        return self.stamp


async def following(stream: AsyncIterator[bytes]) -> str:
    async with asyncio.timeout(LIMIT):
        while True:
            chunk = (await anext(stream)).decode()
            if "event: changed" in chunk:
                return chunk


async def test_a_page_is_told_when_the_feed_speaks_of_it(
    live: MemoryLive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change arrives by the feed, long before the store would be looked at again."""
    monkeypatch.setattr(streaming, "PAUSE", 3600.0)
    state = State("one")
    stream = changes(live, FEED, "c-1", state, "one")
    assert (await anext(stream)).startswith(b"retry:")
    told = asyncio.create_task(following(stream))
    while not state.asked:
        await asyncio.sleep(0.01)
    state.stamp = "two"
    await live.append(FEED, b'{"correlation":"c-2"}')
    await live.append(FEED, b'{"correlation":"c-1"}')
    assert "id: two" in await told
    await stream.aclose()


async def test_a_page_that_comes_back_with_an_old_stamp_is_told_at_once(live: MemoryLive) -> None:
    """Last-Event-ID is the stamp: whatever was missed is one change."""
    stream = changes(live, FEED, "c-1", State("seven"), "three")
    assert "id: seven" in await following(stream)
    await stream.aclose()


async def test_a_first_visit_is_told_nothing_it_has_seen(live: MemoryLive) -> None:
    """A page that was only just rendered is current."""
    state = State("one")
    stream = changes(live, FEED, "c-1", state, "one")
    await anext(stream)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await anext(stream)
    assert state.asked


async def test_without_the_feed_the_store_is_looked_at(
    live: MemoryLive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells of the change; the page hears of it all the same."""
    monkeypatch.setattr(streaming, "PAUSE", 0.05)
    state = State("one")
    stream = changes(live, FEED, "c-1", state, "one")
    await anext(stream)
    told = asyncio.create_task(following(stream))
    await asyncio.sleep(0.1)
    state.stamp = "two"
    assert "id: two" in await told
    await stream.aclose()


async def test_a_stream_outlives_the_store_and_the_feed(
    live: MemoryLive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they are away nothing is said; once they are back the newest state is."""
    monkeypatch.setattr(streaming, "PAUSE", 0.05)
    state = State("one")
    stream = changes(live, FEED, "c-1", state, "one")
    await anext(stream)
    told = asyncio.create_task(following(stream))
    state.away = True
    await asyncio.sleep(0.2)
    assert not told.done()
    state.away, state.stamp = False, "two"
    assert "id: two" in await told
    await stream.aclose()


async def test_a_stream_ends_with_its_page(live: MemoryLive) -> None:
    """The stamp OVER closes it; the page is told, so that it asks and hears why."""
    chunks = [chunk async for chunk in changes(live, FEED, "c-1", State(OVER), "one")]
    assert chunks == [b"retry: 1000\n\n", b"event: changed\ndata: over\n\n"]


async def test_a_revoked_key_ends_its_open_streams(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is looked at again each time, so that nobody reads on with a key that was taken away."""
    monkeypatch.setattr(streaming, "PAUSE", 0.05)
    run = await scene.ride("r-1", flow="refund")
    await scene.until_run(run, waiting="approve")
    sent: list[dict[str, Any]] = []
    async with scene.signed_in("viewer") as browser:
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    async def revoke(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.start":
            now = scene.platform.clock()
            await scene.database.write(lambda conn: conn.execute(update(keys).values(revoked_at=now)))

    path = f"/ui/stories/{run}/stream"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"desk.test"), (b"cookie", cookie.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("desk.test", 80),
    }

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody disconnects here")

    async with asyncio.timeout(LIMIT):
        await scene.app(scope, receive, revoke)
    assert sent[0]["status"] == 200
    assert not sent[-1].get("more_body", False)


async def test_what_changes_between_a_page_and_its_stream_is_told(scene: Scene) -> None:
    """The stream goes by what the page showed: a run that ended before it was open ended on the page, too."""
    run = await scene.ride("r-2", flow="refund")
    await scene.until_run(run, waiting="approve")
    async with scene.serving() as base, httpx.AsyncClient(base_url=base, timeout=LIMIT) as browser:
        await browser.post("/ui/login", data={"key": scene.keys["viewer"]})
        page = (await browser.get(f"/ui/runs/{run}")).text
        await scene.client.cancel(WORKSPACE, run, reason="a test", actor="ann")
        await scene.until_run(run, status="cancelled")
        address = re.search(r'sse-connect="([^"]+)"', page)
        assert address
        async with asyncio.timeout(LIMIT), browser.stream("GET", address[1]) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("event: changed"):
                    return
    raise AssertionError("the stream ended and said nothing")


async def test_a_gateway_that_stops_ends_the_streams_of_open_pages(scene: Scene) -> None:
    """It waits for responses, and theirs have no end: one open page held it for all of its grace."""
    run = await scene.ride("r-3", flow="refund")
    await scene.until_run(run, waiting="approve")
    async with scene.serving() as base, httpx.AsyncClient(base_url=base, timeout=LIMIT) as browser:
        await browser.post("/ui/login", data={"key": scene.keys["viewer"]})
        async with asyncio.timeout(LIMIT), browser.stream("GET", f"/ui/runs/{run}/stream") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            end_streams(scene.app)
            assert [line async for line in lines if line] == []
