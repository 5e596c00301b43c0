"""Live streams, over a real server and real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from contracts.errors import StoreUnavailable
from gateway import sse
from gateway.app import create_gateway, end_streams
from gateway.sse import EventStream, Streams
from tests.gateway.house import LIMIT, House, served, until


async def _value(value: bool) -> bool:
    return value


class Reader:
    """Reads server-sent events as the standard says."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id: str | None = None

    async def next(self) -> tuple[str, Any]:
        """The next event that is dispatched: its type and its data."""
        kind, data = "message", ""
        async with asyncio.timeout(LIMIT):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if field == "id":
                    self.last_id = value
                elif field == "event":
                    kind = value
                elif field == "data":
                    data += value
                elif not line and data:
                    return kind, orjson.loads(data)
        raise EOFError("the stream has ended")

    async def comment(self) -> str:
        """The next comment."""
        async with asyncio.timeout(LIMIT):
            async for line in self._lines:
                if line.startswith(":"):
                    return line
        raise EOFError("the stream has ended")


@asynccontextmanager
async def reading(
    house: House, url: str, path: str, *, after: str | None = None, key: str | None = None
) -> AsyncIterator[Reader]:
    """A stream that is open: what happens from now on is in it."""
    headers = {"Authorization": f"Bearer {key or house.keys['viewer']}"}
    if after is not None:
        headers["Last-Event-ID"] = after
    async with (
        httpx.AsyncClient(timeout=LIMIT) as client,
        client.stream("GET", url + path, headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        reader = Reader(response)
        assert await reader.comment() == ": connected"
        yield reader


async def append(house: House, *numbers: int, correlation: str = "story-1", keep: int = 10_000) -> list[str]:
    entries = [
        orjson.dumps({"kind": "fact", "type": "t", "correlation": correlation, "number": number})
        for number in numbers
    ]
    return await house.live.append("ws/acme", *entries, keep=keep)


async def test_what_happens_is_in_the_stream_of_its_workspace_only(working_house: House) -> None:
    """A run's facts come as they are committed, and another workspace sees nothing of them."""
    house = working_house
    async with served(house.app) as url, reading(house, url, "/events/stream?kind=fact") as reader:
        async with house.client() as client:
            run = (await client.post("/flows/order/runs", json={"order_id": "o-1", "amount": 1})).json()
        other = await house.key("admin", workspace="globex")
        async with house.client(key=other) as theirs:
            await theirs.post("/flows/order/runs", json={"order_id": "o-9", "amount": 1})
        seen: list[str] = []
        while "run_completed" not in seen:
            kind, entry = await reader.next()
            assert (kind, entry["run"]) == ("fact", run["id"])
            seen.append(entry["type"])
    assert seen[0] == "run_started"


async def test_a_client_that_comes_back_gets_what_it_missed(house: House) -> None:
    """With Last-Event-ID nothing is lost and nothing comes twice."""
    async with served(house.app) as url:
        async with reading(house, url, "/events/stream") as reader:
            await append(house, 1, 2)
            assert [(await reader.next())[1]["number"] for _ in range(2)] == [1, 2]
            place = reader.last_id
        await append(house, 3, 4)
        async with reading(house, url, "/events/stream", after=place) as reader:
            await append(house, 5)
            assert [(await reader.next())[1]["number"] for _ in range(3)] == [3, 4, 5]


async def test_a_client_that_was_away_too_long_is_told(house: House) -> None:
    """When the feed no longer has what was missed, ``reset`` says so, and what is new follows."""
    (place,) = await append(house, 0)
    await append(house, *range(1, 50_000), keep=10)
    async with (
        served(house.app) as url,
        reading(house, url, "/events/stream", after=place) as reader,
    ):
        kind, said = await reader.next()
        assert (kind, bool(said["reason"])) == ("reset", True)
        await append(house, 7)
        assert (await reader.next())[1]["number"] == 7


async def test_a_story_is_watched_alone_and_keeps_its_place(house: House) -> None:
    """Other stories' entries are not sent, and a client that comes back is not sent through them again."""
    async with (
        served(house.app) as url,
        reading(house, url, "/stories/tale%2F7/stream") as reader,
    ):
        await append(house, 1, correlation="other")
        await append(house, 2, correlation="tale/7")
        assert (await reader.next())[1]["number"] == 2


async def test_a_stream_ends_when_its_client_leaves(house: House) -> None:
    """Nothing stays behind: neither the count nor the follower."""
    streams = house.app.state.gateway.streams
    async with served(house.app) as url:
        async with reading(house, url, "/events/stream"):
            assert streams.open == 1
        await until(lambda: _value(streams.open == 0), "the stream to be closed")


async def test_more_streams_than_allowed_are_refused(house: House) -> None:
    """503 with Retry-After, before anything is opened."""
    app = create_gateway(replace(house.platform, max_streams=1))
    async with served(app) as url, reading(house, url, "/events/stream"), httpx.AsyncClient() as client:
        answer = await client.get(
            f"{url}/events/stream", headers={"Authorization": f"Bearer {house.keys['viewer']}"}
        )
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:antiphon:problem:too-many-streams")
    assert answer.headers["retry-after"]


async def test_a_server_that_stops_ends_its_streams(house: House) -> None:
    """An open stream is completed, so that a server that drains need not wait for its client."""
    async with served(house.app) as url, reading(house, url, "/events/stream") as reader:
        await append(house, 1)
        await reader.next()
        end_streams(house.app)
        with pytest.raises(EOFError):
            await reader.next()


@pytest.mark.parametrize("path", ["/events/stream", "/stories/s-1/stream"])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_stream_ends_when_its_key_is_revoked(
    house: House, monkeypatch: pytest.MonkeyPatch, path: str, elsewhere: bool
) -> None:
    """By this gateway or another, whatever is cached; the streams of other keys go on."""
    monkeypatch.setattr(sse, "_LOOK", 0.05)
    app = create_gateway(replace(house.platform, key_cache_seconds=0.1 if elsewhere else 3600.0))
    revoking = house.app if elsewhere else app
    async with house.client(app=revoking) as admin, served(app) as url, reading(house, url, path) as other:
        made = (await admin.post("/keys", json={"role": "viewer", "name": "lost"})).json()
        async with reading(house, url, path, key=made["secret"]) as lost:
            await append(house, 1, correlation="s-1")
            assert (await lost.next())[1]["number"] == 1
            await admin.delete(f"/keys/{made['id']}")
            with pytest.raises(EOFError):
                await lost.next()
        await append(house, 2, correlation="s-1")
        assert [(await other.next())[1]["number"] for _ in range(2)] == [1, 2]


class Wire:
    """An ASGI connection in the test's hand."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.may_write = asyncio.Event()
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            await self.may_write.wait()
        self.sent.append(message)

    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def test_a_slow_client_is_cut_off_with_a_bounded_buffer() -> None:
    """A client that does not read costs its buffer and no more, and then its connection."""
    given = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"data: x\n\n"
            await asyncio.sleep(0)

    wire, streams = Wire(), Streams(10)
    async with asyncio.timeout(LIMIT):
        await EventStream(source(), streams, buffer=8)({"type": "http"}, wire.receive, wire.send)
    assert given <= 10
    assert streams.open == 0
    assert [message["type"] for message in wire.sent] == ["http.response.start"]


async def test_silence_is_filled_with_comments_that_keep_the_place() -> None:
    """A heartbeat says the id of what was passed over, so that a reconnect does not go back."""

    async def source() -> AsyncIterator[bytes]:
        yield b"id: 7-0\n"
        await asyncio.Event().wait()

    wire = Wire()
    wire.may_write.set()
    stream = EventStream(source(), Streams(10), beat=0.01)
    task = asyncio.create_task(stream({"type": "http"}, wire.receive, wire.send))

    async def beaten() -> bool:
        return wire.text().count("keep-alive") >= 2

    await until(beaten, "two heartbeats")
    wire.left.set()
    await task
    assert wire.text().startswith("id: 7-0\n: keep-alive\n\n: keep-alive\n\n")


async def test_a_source_that_ends_ends_the_stream() -> None:
    """Everything that it gave is sent, and the response is complete."""

    async def source() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        yield b"data: 2\n\n"

    wire = Wire()
    wire.may_write.set()
    async with asyncio.timeout(LIMIT):
        await EventStream(source(), Streams(10))({"type": "http"}, wire.receive, wire.send)
    assert wire.text() == "data: 1\n\ndata: 2\n\n"
    assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_source_that_fails_ends_the_stream() -> None:
    """A client whose stream is over comes back; one that only gets heartbeats waits for ever."""

    async def source() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        raise KeyError("a defect of ours")

    wire, streams = Wire(), Streams(10)
    wire.may_write.set()
    async with asyncio.timeout(LIMIT):
        await EventStream(source(), streams, beat=0.01)({"type": "http"}, wire.receive, wire.send)
    assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert streams.open == 0


async def test_a_stream_goes_on_while_nobody_can_say_whether_its_key_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that is away for a while ends nothing."""
    monkeypatch.setattr(sse, "_LOOK", 0.01)
    asked: list[int] = []
    told = asyncio.Event()

    async def stands() -> bool:
        asked.append(len(asked))
        if not told.is_set():
            raise StoreUnavailable("the database is away")
        return False

    async def source() -> AsyncIterator[bytes]:
        while len(asked) < 3:
            await asyncio.sleep(0.01)
        yield b"data: 1\n\n"
        told.set()
        await asyncio.Event().wait()

    wire = Wire()
    wire.may_write.set()
    async with asyncio.timeout(LIMIT):
        await EventStream(source(), Streams(10), stands=stands)({"type": "http"}, wire.receive, wire.send)
    assert wire.text() == "data: 1\n\n"
    assert wire.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.parametrize("role", ["publisher"])
async def test_a_role_without_operations_sees_no_stream(house: House, role: str) -> None:
    """A program's key does not watch the workspace."""
    async with house.client(role) as client:
        assert (await client.get("/events/stream")).status_code == 403
        assert (await client.get("/stories/x/stream")).status_code == 403
