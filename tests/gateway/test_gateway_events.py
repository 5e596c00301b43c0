"""Events over HTTP: three forms in, one message out, confirmed before the answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import select

import gateway.routes.events
from bus.envelope import event_of
from bus.port import EVENTS, Binding, Outgoing, Queue
from contracts.envelope import Event
from contracts.errors import PublishFailed, StoreUnavailable, TooLarge
from store.tables import events
from tests.gateway.house import House, until

DATA = {"order_id": "o-1"}
SHORT = {"type": "order.paid.v1", "data": DATA}


async def listen(house: House, type: str = "order.paid.v1") -> Any:
    """A function that gives the next event of this type as it is on the bus."""
    queue = Queue(f"listener.{type}", (Binding(EVENTS, type),))
    await house.bus.declare(queue)
    subscription = await house.bus.subscribe(queue.name, prefetch=10)

    async def next_event() -> Event:
        (delivery,) = await subscription.receive(1)
        await subscription.ack([delivery])
        return event_of(delivery.message)

    return next_event


async def test_the_short_form_is_published_and_recorded(house: House) -> None:
    """The answer says what was published; reactors get it, and a story will know it."""
    async with house.client("publisher") as client:
        answer = await client.post("/events", json={**SHORT, "subject": "o-1", "correlation": "story-1"})
    assert answer.status_code == 202
    said = answer.json()
    assert (said["type"], said["source"], said["correlation"]) == (
        "order.paid.v1",
        "/acme/gateway",
        "story-1",
    )
    assert said["routed"] is True

    async def told() -> bool:
        return house.told.events == ["o-1"]

    await until(told, "the reactor to be told")
    (row,) = await house.database.read(lambda conn: conn.execute(select(events)).all())
    assert (row.id, row.workspace, row.subject, row.routed) == (said["id"], "acme", "o-1", 1)


async def test_binary_and_structured_mode_are_the_same_event(house: House) -> None:
    """A CloudEvent keeps its id, subject and story in either mode; percent-encoding is undone."""
    next_event = await listen(house)
    attributes = {"id": "e-1", "source": "dispatch", "type": "order.paid.v1", "correlationid": "story-1"}
    async with house.client("publisher") as client:
        binary = await client.post(
            "/events",
            json=DATA,
            headers={
                "ce-specversion": "1.0",
                "ce-subject": "caf%C3%A9",
                **{f"ce-{name}": value for name, value in attributes.items()},
            },
        )
        first = await next_event()
        structured = await client.post(
            "/events",
            json={**attributes, "id": "e-2", "specversion": "1.0", "subject": "café", "data": DATA},
            headers={"Content-Type": "application/cloudevents+json"},
        )
        second = await next_event()
    assert (binary.status_code, structured.status_code) == (202, 202)
    assert (first.id, second.id) == ("e-1", "e-2")
    for event in (first, second):
        assert (event.source, event.subject, event.correlation) == ("/acme/dispatch", "café", "story-1")
        assert (event.workspace, event.data) == ("acme", DATA)
        assert event.dataschema == "https://contracts.test/order/paid.v1.json"


@pytest.mark.parametrize(
    ("given", "published"),
    [
        ("/acme/dispatch", "/acme/dispatch"),
        ("/globex/dispatch", "/acme/globex/dispatch"),
        ("https://dispatch.test/x", "/acme/https://dispatch.test/x"),
        ("//acme/dispatch", "/acme/acme/dispatch"),
    ],
)
async def test_a_source_is_bound_to_the_keys_workspace(house: House, given: str, published: str) -> None:
    """Nobody sends in another workspace's name: what a source claims is put below one's own."""
    async with house.client("publisher") as client:
        answer = await client.post(
            "/events",
            json=DATA,
            headers={"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": given, "ce-type": "order.paid.v1"},
        )
    assert answer.json()["source"] == published


async def test_an_event_that_nobody_listens_to_is_accepted_and_says_so(house: House) -> None:
    """Choreography does not know its audience: it is no error, and it is recorded."""
    async with house.client("publisher") as client:
        answer = await client.post("/events", json={"type": "order.shipped.v1", "data": DATA})
    (row,) = await house.database.read(lambda conn: conn.execute(select(events)).all())
    assert (answer.status_code, answer.json()["routed"], row.routed) == (202, False, 0)


@pytest.mark.parametrize(("type", "status"), [("order.paid.v1", 202), ("order.placed.v1", 503)])
async def test_an_event_that_nothing_keeps_is_not_accepted(
    house: House, monkeypatch: pytest.MonkeyPatch, type: str, status: int
) -> None:
    """The broker has given back what nobody listens to, and then the record is all there is of it."""

    def away(*_: Any) -> None:
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(gateway.routes.events, "insert_events", away)
    data = {"order_id": "o-1"} | ({"amount": 1} if type == "order.placed.v1" else {})
    async with house.client("publisher") as client:
        answer = await client.post("/events", json={"type": type, "data": data})
    assert (answer.status_code, "retry-after" in answer.headers) == (status, status == 503)


async def test_an_idempotency_key_makes_a_repeat_the_same_event(house: House) -> None:
    """The id is derived from the key, and the repeat gets the first answer; reactors are told once."""
    headers = {"Idempotency-Key": "k-1"}
    async with house.client("publisher") as client:
        first = await client.post("/events", json=SHORT, headers=headers)
        second = await client.post("/events", json=SHORT, headers=headers)
        other = await client.post("/events", json={**SHORT, "subject": "x"}, headers=headers)
    assert second.json() == first.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["type"]) == (422, "urn:antiphon:problem:idempotency-reuse")


def form(name: str, trace: dict[str, str]) -> dict[str, Any]:
    """What to send for one event in one of the three forms, with a trace."""
    event = {"id": "e-1", "source": "dispatch", "type": "order.paid.v1", "specversion": "1.0"}
    if name == "short":
        return {"json": SHORT, "headers": trace}
    if name == "binary":
        return {"json": DATA, "headers": {f"ce-{key}": value for key, value in {**event, **trace}.items()}}
    body = {**event, **trace, "data": DATA}
    return {"content": orjson.dumps(body), "headers": {"Content-Type": "application/cloudevents+json"}}


@pytest.mark.parametrize("name", ["short", "binary", "structured"])
async def test_a_repeat_in_another_span_is_the_same_request(house: House, name: str) -> None:
    """OpenTelemetry clients give each attempt a span of its own; the event keeps that of the first."""
    traces = [f"00-{'a' * 32}-{span * 16}-01" for span in "bc"]
    next_event = await listen(house)
    answers = []
    async with house.client("publisher") as client:
        for trace in traces:
            sent = form(name, {"traceparent": trace})
            sent["headers"] = {**sent["headers"], "Idempotency-Key": "k-1"}
            answers.append(await client.post("/events", **sent))
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert (await next_event()).extensions["traceparent"] == traces[0]


@pytest.mark.parametrize("name", ["short", "binary", "structured"])
@pytest.mark.parametrize("trace", ["nonsense", "x" * 300])
async def test_a_trace_that_can_not_be_read_is_ignored(house: House, name: str, trace: str) -> None:
    """W3C Trace Context: the request is taken as one without a trace."""
    next_event = await listen(house)
    async with house.client("publisher") as client:
        answer = await client.post("/events", **form(name, {"traceparent": trace, "tracestate": "a=1"}))
    assert answer.status_code == 202
    assert not {"traceparent", "tracestate"} & set((await next_event()).extensions)


async def test_a_repeat_after_a_failure_publishes_the_same_id(house: House) -> None:
    """When the bus failed after the key was stored, the repeat has the id that the first would have had."""
    headers = {"Idempotency-Key": "k-1"}
    async with house.client("publisher") as client:
        await house.bus.close()
        failed = await client.post("/events", json=SHORT, headers=headers)
        await house.bus.start()
        next_event = await listen(house)
        again = await client.post("/events", json=SHORT, headers=headers)
        once_more = await client.post("/events", json=SHORT, headers={"Idempotency-Key": "k-2"})
    assert (failed.status_code, again.status_code) == (503, 202)
    assert (await next_event()).id == again.json()["id"]
    assert again.json()["id"] != once_more.json()["id"]


async def test_an_id_that_no_broker_carries_is_refused_with_its_bounds(house: House) -> None:
    """Of 200 characters or fewer, and yet of more bytes than AMQP has for a message's id."""
    structured = {"content-type": "application/cloudevents+json"}
    event = {"specversion": "1.0", "source": "/web", "type": "order.paid.v1", "data": DATA}
    async with house.client("publisher") as client:
        refused = await client.post("/events", json={**event, "id": "𠮷" * 64}, headers=structured)
        taken = await client.post("/events", json={**event, "id": "𠮷" * 63}, headers=structured)
    assert refused.status_code == 422
    assert refused.json()["detail"] == "id must have 1 to 200 printable characters, 255 bytes at most."
    assert taken.status_code == 202


async def test_what_the_broker_finds_too_large_is_not_to_be_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is 413, and no 503 that says when."""

    async def refusing(*outgoing: Outgoing, timeout: float = 5.0) -> None:
        raise PublishFailed({0: TooLarge(f"no message as large as {outgoing[0].message.id!r} is taken")})

    monkeypatch.setattr(house.platform.bus, "publish", refusing)
    async with house.client("publisher") as client:
        answer = await client.post("/events", json=SHORT)
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:antiphon:problem:too-large"
    assert "retry-after" not in answer.headers
