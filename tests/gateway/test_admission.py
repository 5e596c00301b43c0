"""What is more than can be done is refused at the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

import gateway.admission
from bus.port import Outgoing
from contracts.errors import BusUnavailable
from gateway.app import create_gateway
from tests.gateway.house import LIMIT, House, served, until

ORDER = {"order_id": "o-1", "amount": 5}
START = "/flows/order/runs"
PAID = {"type": "order.paid.v1", "data": {"order_id": "o-1", "amount": 5}}


class SlowBus:
    """A broker that confirms nothing until it is let go."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self.go = asyncio.Event()
        self.fails = False
        self.held = 0  # publishes that have come and wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, *outgoing: Outgoing) -> None:
        self.held += 1
        await self.go.wait()
        if self.fails:
            raise BusUnavailable("RabbitMQ gave no confirm in time")
        await self._bus.publish(*outgoing)


@pytest.fixture
async def slow(house: House) -> AsyncIterator[SlowBus]:
    """The house's broker, slow from now on."""
    bus: Any = SlowBus(house.bus)
    house.runs._bus = bus
    house.platform = replace(house.platform, bus=bus)
    yield bus
    bus.go.set()


def app_of(house: House, **limits: Any) -> Any:
    return create_gateway(replace(house.platform, **limits))


def refused(answer: httpx.Response) -> bool:
    """Whether it is a refusal, as it should be."""
    if answer.status_code != 503:
        return False
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:antiphon:problem:overloaded"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    return True


async def metric(http: httpx.AsyncClient, name: str) -> float:
    text = (await http.get("/metrics")).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))


async def at_work(http: httpx.AsyncClient, count: int) -> None:
    async def there() -> bool:
        return await metric(http, 'antiphon_requests_waiting{lane="write"}') == count

    await until(there, f"{count} requests at work")


async def with_the_broker(slow: SlowBus, count: int) -> None:
    async def there() -> bool:
        return slow.held == count

    await until(there, f"{count} publishes to wait for their confirm")


async def test_no_more_than_so_many_at_once(house: House, slow: SlowBus) -> None:
    """The rest is refused while those wait, readers are not, and everything that was let in is answered."""
    async with house.client("admin", app=app_of(house, max_waiting=3)) as http:
        let_in = [asyncio.create_task(http.post("/events", json=PAID)) for _ in range(3)]
        await at_work(http, 3)
        for path in ("/events", "/flows/order/runs"):
            assert refused(await http.post(path, json=PAID))
        assert (await http.get("/runs")).status_code == 200
        assert await metric(http, 'antiphon_requests_refused_total{lane="write"}') == 2
        slow.go.set()
        assert [answer.status_code for answer in await asyncio.gather(*let_in)] == [202] * 3
        assert (await http.post("/events", json=PAID)).status_code == 202
        assert await metric(http, 'antiphon_requests_admitted_total{lane="write"}') == 4
        assert await metric(http, 'antiphon_requests_waiting{lane="write"}') == 0


async def test_a_refusal_reads_nothing(house: House, slow: SlowBus) -> None:
    """Not even who asks: refusing must cost next to nothing, or it helps nobody."""
    app = app_of(house, max_waiting=1)
    async with house.client("admin", app=app) as http, house.client(None, app=app) as nobody:
        let_in = asyncio.create_task(http.post("/events", json=PAID))
        await at_work(http, 1)
        assert refused(await nobody.post("/events", content=b"no JSON"))
        slow.go.set()
        assert (await let_in).status_code == 202
        assert (await nobody.post("/events", content=b"no JSON")).status_code == 401


@pytest.mark.parametrize("told", [True, False])
async def test_bodies_are_bounded_together(
    house: House, slow: SlowBus, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """One may be as large as its own limit; two such at once are too much, as soon as it is known."""
    monkeypatch.setattr(gateway.admission, "_MOST_BYTES", 1_000)
    body = b'{"type": "order.paid.v1", "data": {"order_id": "o-1", "amount": 5}}' + b" " * 1_200
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        for place in range(0, len(body), 100):
            read += 100
            yield body[place : place + 100]

    headers = {"Content-Type": "application/json"}
    if told:  # without a length it may be as large as any
        headers["Content-Length"] = str(len(body))
    async with house.client("admin", app=app_of(house)) as http:
        let_in = asyncio.create_task(http.post("/events", content=chunks(), headers=headers))
        await with_the_broker(slow, 1)
        assert await metric(http, "antiphon_request_bytes") == len(body)
        read = 0
        assert refused(await http.post("/events", content=chunks(), headers=headers))
        assert read == 0
        slow.go.set()
        assert (await let_in).status_code == 202
        assert (await http.post("/events", content=chunks(), headers=headers)).status_code == 202
        assert await metric(http, "antiphon_request_bytes") == 0


async def test_a_broker_that_does_not_confirm_closes_the_door(
    house: House, slow: SlowBus, pass_time: Callable[[float], None]
) -> None:
    """Who comes later is refused at once, rather than in the end; and is let in when it confirms again."""
    async with house.client("admin", app=app_of(house)) as http:
        let_in = asyncio.create_task(http.post("/events", json=PAID))
        await with_the_broker(slow, 1)  # let in is not enough: its time there begins with the publish
        pass_time(3.0)
        assert refused(await http.post("/events", json=PAID))
        assert refused(await http.post("/flows/order/runs", json=ORDER))
        assert (await http.get("/flows")).status_code == 200
        slow.fails = True
        slow.go.set()
        assert (await let_in).json()["type"] == "urn:antiphon:problem:bus-unavailable"
        slow.fails = False
        assert (await http.post("/events", json=PAID)).status_code == 202


async def test_requests_that_take_too_long(house: House, slow: SlowBus) -> None:
    """However few they are. Whoever asked to wait is not taken for a delay."""
    app = app_of(house)
    admission = app.state.gateway.admission
    real, ahead = admission.at_work._clock, [0.0]
    admission.at_work._clock = lambda: real() + ahead[0]
    admission.unconfirmed._clock = lambda: 0.0  # a broker that confirms
    async with house.client("admin", app=app) as http:
        patient = asyncio.create_task(
            http.post("/flows/approval/runs", json=ORDER, headers={"Prefer": "wait=1"})
        )
        await at_work(http, 1)
        ahead[0] += 11.0
        assert await metric(http, "antiphon_requests_age_seconds") == 0
        let_in = asyncio.create_task(http.post("/events", json=PAID))
        await at_work(http, 2)
        ahead[0] += 11.0
        assert refused(await http.post("/events", json=PAID))
        slow.go.set()
        assert (await let_in).status_code == (await patient).status_code == 202
        assert (await http.post("/events", json=PAID)).status_code == 202


async def test_starts_that_nobody_takes_up(house: House) -> None:
    """They count after their askers have gone, until an orchestrator has them; then the door opens again."""
    app = app_of(house, start_wait=0.01, max_unstarted=2, longest_unstarted=0.0)
    async with house.client("admin", app=app) as http:
        for key in ("o-1", "o-2"):
            answer = await http.post("/flows/order/runs", json={**ORDER, "order_id": key})
            assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        third = {**ORDER, "order_id": "o-3"}
        assert refused(await http.post("/flows/order/runs", json=third))
        assert (await http.post("/events", json=PAID)).status_code == 202
        assert await metric(http, "antiphon_starts_waiting") == 2
        await house.orchestrate()

        async def again() -> bool:
            return not refused(await http.post("/flows/order/runs", json=third))

        await until(again, "a start to be let in again")


async def test_starts_that_wait_for_too_long(house: House, pass_time: Callable[[float], None]) -> None:
    app = app_of(house, start_wait=0.01, longest_unstarted=30.0)
    async with house.client("admin", app=app) as http:
        assert (await http.post("/flows/order/runs", json=ORDER)).status_code == 202
        pass_time(29.0)
        assert (await http.post("/flows/order/runs", json={**ORDER, "order_id": "o-2"})).status_code == 202
        pass_time(2.0)
        assert refused(await http.post("/flows/order/runs", json={**ORDER, "order_id": "o-3"}))
        assert await metric(http, "antiphon_starts_age_seconds") > 30


@pytest.fixture
def pass_time(house: House) -> Callable[[float], None]:
    """Makes the backlogs believe that it is later."""
    ahead = 0.0

    def later(real: Callable[[], float]) -> Callable[[], float]:
        return lambda: real() + ahead

    def forward(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    for backlog in (house.runs.unstarted._backlog, house.runs.unstarted.unconfirmed):
        backlog._clock = later(backlog._clock)
    return forward


async def test_a_client_that_goes_away_is_no_error_of_ours(house: House) -> None:
    """Under overload many do; each would else be logged as a failure, with its traceback."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer " + house.keys["admin"].encode())]
    headers.append((b"content-type", b"application/json"))
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"path": "/flows/order/runs", "raw_path": b"/flows/order/runs", "query_string": b""}
    scope |= {"root_path": "", "scheme": "http", "headers": headers, "client": None, "server": None}
    await house.app(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_whoever_leaves_while_they_wait_for_a_result_gives_back_their_place(house: House) -> None:
    """A client that gives up after a second and asks again would hold thirty places, and close the door."""
    app = create_gateway(replace(house.platform, start_wait=0.1))
    registry = app.state.gateway.admission.registry
    headers = {"Authorization": f"Bearer {house.keys['publisher']}", "Prefer": "wait=30"}
    headers["Idempotency-Key"] = "k-1"

    async def nobody_at_work() -> bool:
        return registry.get_sample_value("antiphon_requests_waiting", {"lane": "write"}) == 0

    async with served(app) as url:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(START, json=ORDER, timeout=1.0)
        async with asyncio.timeout(LIMIT / 4):
            await until(nobody_at_work, "its place")
        await house.orchestrate()
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT) as client:
            again = await client.post(START, json=ORDER)
    assert (again.status_code, again.json()["result"]) == (200, {"total": 10})
