"""Whoever sends a body slowly, or not at all, waits alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway import admission, arrivals
from gateway.app import create_gateway
from gateway.arrivals import Arrival, Arrivals
from gateway.dashboard.app import mount
from gateway.problems import Problem
from tests.gateway.house import LIMIT, House, served, until

PAID = {"type": "order.paid.v1", "data": {"order_id": "o-1", "amount": 5}}
START = "/flows/order/runs"
SIGN_IN = "/ui/login"
MIB = 2**20


class Sender:
    """A connection that sends what it is told to, and no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> str:
        """All that comes, until the other side closes."""
        async with asyncio.timeout(LIMIT):
            return (await self._reader.read()).decode()


@asynccontextmanager
async def sending(house: House, url: str, path: str, length: int) -> AsyncIterator[Sender]:
    """A POST of which the headers and one byte were sent."""
    kind = "application/x-www-form-urlencoded" if path == SIGN_IN else "application/json"
    key = "" if path == SIGN_IN else f"Authorization: Bearer {house.keys['publisher']}\r\n"
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{key}\r\n"
    writer.write(head.encode() + b"{")
    try:
        yield Sender(reader, writer)
    finally:
        writer.close()


def app_of(house: House, **limits: Any) -> FastAPI:
    platform = replace(house.platform, **limits)
    app = create_gateway(platform)
    mount(app, platform)
    return app


def overloaded(answer: str) -> None:
    assert answer.startswith("HTTP/1.1 503 ")
    assert "problem:overloaded" in answer
    assert "connection: close" in answer.lower()


async def arriving(http: httpx.AsyncClient, count: int) -> None:
    async def there() -> bool:
        return f"antiphon_requests_arriving {count}.0" in (await http.get("/metrics")).text

    await until(there, f"{count} bodies on their way")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_SILENCE", 0.05)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_SILENCE", 3600.0)
    monkeypatch.setattr(arrivals, "_LONGEST", 3600.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("path", [SIGN_IN, START])
async def test_a_sender_that_stalls_is_not_taken_for_a_delay(house: House, path: str) -> None:
    """The age of what is at work says how slow the house is, not how slow its clients are."""
    app = app_of(house, max_waiting=1)
    work = app.state.gateway.admission.at_work
    async with served(app) as url, house.client(app=app) as http, sending(house, url, path, 100):
        await arriving(http, 1)
        real = work._clock
        work._clock = lambda: real() + 11.0
        assert (await http.post("/events", json=PAID)).status_code == 202


@pytest.mark.usefixtures("patient")
async def test_what_is_only_declared_takes_no_place(house: House) -> None:
    """Only bytes that have come are held, so only they count."""
    app = app_of(house, max_body_bytes=100 * MIB)
    async with (
        served(app) as url,
        house.client(app=app) as http,
        sending(house, url, START, 70 * MIB),
        sending(house, url, START, 70 * MIB),
    ):
        await arriving(http, 2)
        assert "antiphon_request_bytes 2.0" in (await http.get("/metrics")).text
        assert (await http.post("/events", json=PAID)).status_code == 202


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("path", "says"), [(SIGN_IN, "<html"), (START, "problem:request-timeout")])
async def test_a_sender_that_stalls_is_told_and_cut_off(house: House, path: str, says: str) -> None:
    """408, and the connection closed, since the rest of the body could still come on it."""
    app = app_of(house)
    async with served(app) as url, house.client(app=app) as http, sending(house, url, path, 100) as sender:
        answer = await sender.answer()
        await arriving(http, 0)
        assert "antiphon_request_bytes 0.0" in (await http.get("/metrics")).text
    assert answer.startswith("HTTP/1.1 408 ")
    assert "connection: close" in answer.lower()
    assert says in answer


async def test_a_sender_that_drips_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never silent for long, and never done: there is a bound for the whole body."""
    monkeypatch.setattr(arrivals, "_LONGEST", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"x", "more_body": True}

    body = Arrival(Arrivals())

    async def read() -> None:
        async with asyncio.timeout(LIMIT):
            while True:
                await body.next(receive)

    with pytest.raises(Problem, match="did not come in time"):
        await read()


@pytest.mark.usefixtures("patient")
async def test_of_too_many_the_oldest_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many stand still, whoever sends is served."""
    monkeypatch.setattr(arrivals, "_MOST", 2)
    app = app_of(house)
    async with served(app) as url, house.client(app=app) as http, sending(house, url, START, 100) as first:
        await arriving(http, 1)
        async with sending(house, url, START, 100), sending(house, url, SIGN_IN, 100):
            assert (await first.answer()).startswith("HTTP/1.1 408 ")
            await arriving(http, 2)


@pytest.mark.usefixtures("patient")
async def test_a_body_that_comes_when_others_are_at_work(house: House) -> None:
    """It was let in before they were, and is refused as if it came now."""
    app = app_of(house, max_waiting=1)
    async with served(app) as url, house.client(app=app) as http, sending(house, url, START, 100) as sender:
        await arriving(http, 1)
        order, waits = {"order_id": "o-1", "amount": 1}, {"Prefer": "wait=20"}
        other = asyncio.create_task(http.post("/flows/approval/runs", json=order, headers=waits))

        async def at_work() -> bool:
            return 'antiphon_requests_waiting{lane="write"} 1.0' in (await http.get("/metrics")).text

        await until(at_work, "the other to be at work")
        sender.send(b" " * 99)
        overloaded(await sender.answer())
        other.cancel()


@pytest.mark.usefixtures("patient")
async def test_bytes_that_come_when_others_hold_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by what is really held; what the refused one held is free again."""
    app = app_of(house)
    async with (
        served(app) as url,
        house.client(app=app) as http,
        sending(house, url, START, 100) as first,
        sending(house, url, SIGN_IN, 100) as second,
    ):
        await arriving(http, 2)
        # Not before: whoever comes when there is no place for what they declare is not let in at all.
        monkeypatch.setattr(admission, "_MOST_BYTES", 50)
        first.send(b" " * 50)
        overloaded(await first.answer())
        second.send(b" " * 99)
        await arriving(http, 0)
        assert "antiphon_request_bytes 0.0" in (await http.get("/metrics")).text


async def test_the_form_to_sign_in_is_small(house: House) -> None:
    """It is read before it is known who sends it."""
    async with house.client(None, app=app_of(house)) as http:
        assert (await http.post(SIGN_IN, data={"key": "x" * 8_000})).status_code == 401
        assert (await http.post(SIGN_IN, data={"key": "x" * 9_000})).status_code == 413
