"""Bad input: each is refused with a problem that says what was wrong, and nothing of it enters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.problems import KINDS
from store.tables import events, idempotency, runs
from tests.gateway.house import House

JSON = {"Content-Type": "application/json"}
CE = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/here", "ce-type": "order.paid.v1", **JSON}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
START = "/flows/order/runs"
DEEP = b'{"order_id":"o","amount":1,"note":' + b"[" * 80 + b"]" * 80 + b"}"
DEEPER = b"[" * 100_000
LARGE = b'{"order_id":"' + b"x" * 1_100_000 + b'"}'

# What is sent (method, path, headers, body), and the problem that it is.
REFUSED: dict[str, tuple[str, str, dict[str, str], bytes, str]] = {
    "no body": ("POST", START, JSON, b"", "malformed-json"),
    "not JSON": ("POST", START, JSON, b"{order_id: 1}", "malformed-json"),
    "cut off": ("POST", START, JSON, b'{"order_id": "o-1"', "malformed-json"),
    "not UTF-8": ("POST", START, JSON, b'{"order_id": "\xff"}', "malformed-json"),
    "NaN": ("POST", START, JSON, b'{"order_id": "o", "amount": NaN}', "malformed-json"),
    "deep": ("POST", START, JSON, DEEP, "too-deep"),
    "absurdly deep": ("POST", START, JSON, DEEPER, "malformed-json"),
    "too large": ("POST", START, JSON, LARGE, "too-large"),
    "a list": ("POST", START, JSON, b"[]", "contract-violation"),
    "nothing of it": ("POST", START, JSON, b"{}", "contract-violation"),
    "a number beyond": ("POST", START, JSON, b'{"order_id": "o", "amount": %d}' % 2**64, "invalid-parameter"),
    "a wrong type": ("POST", START, JSON, b'{"order_id": 7, "amount": 1}', "contract-violation"),
    "an unknown field": (
        "POST",
        START,
        JSON,
        b'{"order_id": "o", "amount": 1, "more": 1}',
        "contract-violation",
    ),
    "a NUL in the key": (
        "POST",
        START,
        JSON,
        b'{"order_id": "o\\u0000", "amount": 1}',
        "contract-violation",
    ),
    "a form": (
        "POST",
        START,
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"order_id=1",
        "unsupported-media-type",
    ),
    "no content type": ("POST", START, {}, b"{}", "unsupported-media-type"),
    "unknown flow": ("POST", "/flows/nothing/runs", JSON, b"{}", "unknown-flow"),
    "long idempotency key": ("POST", START, {**JSON, "Idempotency-Key": "k" * 256}, b"", "malformed-json"),
    "unknown event type": ("POST", "/events", JSON, b'{"type": "a.b.v1", "data": {}}', "unknown-contract"),
    "a type of ours": (
        "POST",
        "/events",
        JSON,
        b'{"type": "antiphon.start.v1", "data": {}}',
        "unknown-contract",
    ),
    "event without type": ("POST", "/events", JSON, b'{"data": {}}', "invalid-parameter"),
    "event without data": ("POST", "/events", JSON, b'{"type": "order.paid.v1"}', "invalid-parameter"),
    "event with more": (
        "POST",
        "/events",
        JSON,
        b'{"type": "order.paid.v1", "data": {}, "source": "/you"}',
        "invalid-parameter",
    ),
    "event off contract": (
        "POST",
        "/events",
        JSON,
        b'{"type": "order.paid.v1", "data": {"order_id": 1}}',
        "contract-violation",
    ),
    "event with a bad id": (
        "POST",
        "/events",
        JSON,
        b'{"type": "order.paid.v1", "data": {"order_id": "o"}, "id": "a\\nb"}',
        "invalid-parameter",
    ),
    "binary without id": (
        "POST",
        "/events",
        {name: value for name, value in CE.items() if name != "ce-id"},
        b'{"order_id": "o"}',
        "malformed-event",
    ),
    "binary of version 2": (
        "POST",
        "/events",
        {**CE, "ce-specversion": "2.0"},
        b'{"order_id": "o"}',
        "malformed-event",
    ),
    "binary that is no JSON": (
        "POST",
        "/events",
        {**CE, "Content-Type": "text/plain"},
        b"o",
        "unsupported-media-type",
    ),
    "structured list": ("POST", "/events", STRUCTURED, b"[]", "malformed-event"),
    "structured base64": (
        "POST",
        "/events",
        STRUCTURED,
        b'{"specversion":"1.0","id":"1","source":"/a","type":"order.paid.v1","data_base64":"e30="}',
        "malformed-event",
    ),
    "structured attribute": (
        "POST",
        "/events",
        STRUCTURED,
        b'{"specversion":"1.0","id":"1","source":"/a","type":"order.paid.v1","data":{},"a":{}}',
        "malformed-event",
    ),
    "a batch": (
        "POST",
        "/events",
        {"Content-Type": "application/cloudevents-batch+json"},
        b"[]",
        "unsupported-media-type",
    ),
    "another workspace": (
        "POST",
        "/events",
        {**CE, "ce-workspace": "globex"},
        b'{"order_id": "o"}',
        "workspace-mismatch",
    ),
    "a cursor of nobody": ("GET", "/runs?cursor=abc", {}, b"", "bad-cursor"),
    "a cursor with a NUL": ("GET", "/runs?cursor=WzEuMCwiXHUwMDAwIl0", {}, b"", "bad-cursor"),
    "no such status": ("GET", "/runs?status=happy", {}, b"", "invalid-parameter"),
    "no time": ("GET", "/runs?from=yesterday", {}, b"", "invalid-parameter"),
    "limit of 0": ("GET", "/runs?limit=0", {}, b"", "invalid-parameter"),
    "a NUL in a filter": ("GET", "/runs?key=a%00b", {}, b"", "invalid-parameter"),
    "no such dead letter": ("GET", "/dead-letters/nothing", {}, b"", "dead-letter-not-found"),
    "redrive of nothing": ("POST", "/dead-letters/nothing/redrive", {}, b"", "dead-letter-not-found"),
    "redrive of no group": ("POST", "/dead-letters/redrive", JSON, b"{}", "invalid-parameter"),
    "discard without reason": ("POST", "/dead-letters/x/discard", JSON, b"{}", "invalid-parameter"),
    "not in quarantine": ("GET", "/quarantine/nothing", {}, b"", "quarantine-not-found"),
    "no such role": ("POST", "/keys", JSON, b'{"role": "king", "name": "k"}', "invalid-parameter"),
    "key without name": ("POST", "/keys", JSON, b'{"role": "viewer"}', "invalid-parameter"),
    "no such key": ("DELETE", "/keys/nothing", {}, b"", "key-not-found"),
    "no such address": ("GET", "/nothing/here", {}, b"", "not-found"),
    "wrong method": ("PUT", "/runs", {}, b"", "method-not-allowed"),
    "delete a run": ("DELETE", "/runs/r-1", {}, b"", "method-not-allowed"),
    "a strange place in a stream": (
        "GET",
        "/events/stream",
        {"Last-Event-ID": "x" * 200},
        b"",
        "bad-request",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_bad_input_is_refused_with_a_problem_and_leaves_nothing(house: House, case: str) -> None:
    """Status, content type and URN are as documented, the detail is a sentence, and nothing was stored."""
    method, path, headers, body, kind = REFUSED[case]
    async with house.client() as client:
        answer = await client.request(method, path, headers=headers, content=body)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (KINDS[kind].status, f"urn:antiphon:problem:{kind}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["title"] == KINDS[kind].title
    assert problem["detail"]
    assert problem["instance"] == path.partition("?")[0]

    def stored(conn: Any) -> list[int]:
        tables = (runs, events, idempotency)
        return [conn.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]

    assert await house.database.read(stored) == [0, 0, 0]


async def test_a_wrong_method_is_told_all_right_ones(house: House) -> None:
    """Allow lists what the address takes, whichever route has it (RFC 9110)."""
    async with house.client() as client:
        answers = [await client.put("/keys"), await client.delete("/runs/r-1"), await client.get("/events")]
    assert [answer.headers["allow"] for answer in answers] == ["GET, HEAD, POST", "GET, HEAD", "POST"]


async def test_a_violation_says_where_what_was_expected_and_what_came(house: House) -> None:
    """``errors`` has a JSON pointer to each place that does not fit."""
    async with house.client() as client:
        answer = await client.post(START, json={"order_id": "o-1", "amount": 0, "more": True})
    errors = {error["pointer"]: error for error in answer.json()["errors"]}
    assert answer.json()["contract"] == "order.placed.v1"
    assert errors["/amount"]["got"] == "0"
    assert set(errors["/amount"]) == {"pointer", "expected", "got"}


@pytest.mark.parametrize(
    ("body", "altered"),
    [
        (b"%d" % 2**64, [""]),
        (b"%d" % (-(2**63) - 1), [""]),
        (
            b'{"a/b": [0, 18446744073709551616, {"c": -10000000000000000000}], "d": true}',
            ["/a~1b/1", "/a~1b/2/c"],
        ),
        (b"[%d, %d]" % (2**64 - 1, -(2**63)), []),
        (b'["12345678901234567890123", 0.12345678901234567890123, 12345678901234567890123e-3]', []),
    ],
)
async def test_a_whole_number_is_kept_or_refused_and_never_rounded(
    working_house: House, body: bytes, altered: list[str]
) -> None:
    """Beyond what 64 bits hold a number would become a float, and two different bodies the same request."""
    async with working_house.client() as client:
        run = (await client.post("/flows/approval/runs", json={"order_id": "o-1", "amount": 1})).json()
        answer = await client.post(f"{run['links']['self']}/signals/other", content=body, headers=JSON)
    assert answer.status_code == (422 if altered else 202)
    assert [error["pointer"] for error in answer.json().get("errors", ())] == altered


async def test_a_place_in_broken_json_is_told(house: House) -> None:
    """Line and column of what could not be read."""
    async with house.client() as client:
        answer = await client.post(START, content=b'{\n  "order_id": oops\n}', headers=JSON)
    assert answer.json()["position"] == {"line": 2, "column": 15}


async def test_a_body_that_comes_in_chunks_is_cut_off_at_the_limit(house: House) -> None:
    """Without a declared length, no more than the limit is ever taken in."""
    taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 65_536
            yield b" " * 65_536

    async with house.client() as client:
        answer = await client.post(START, content=chunks(), headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["limit"] == house.platform.max_body_bytes
    assert answer.headers["connection"] == "close"


async def test_a_preference_that_can_not_be_read_is_ignored(house: House) -> None:
    """RFC 7240: an unknown preference is no error."""
    async with house.client() as client:
        answer = await client.post(
            START, json={"order_id": "o-1", "amount": 1}, headers={"Prefer": "wait=soon, mood=good"}
        )
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


async def test_what_nobody_foresaw_is_a_problem_with_a_reference(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is answered with 500 and a reference to the log, never with a traceback."""

    async def broken(work: Any) -> Any:
        raise ZeroDivisionError("secret")

    async with house.client() as client:
        await client.get("/runs")
        monkeypatch.setattr(house.platform.database, "read", broken)
        answer = await client.get("/healthz")
        assert answer.status_code == 200
        answer = await client.get("/runs")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:antiphon:problem:internal")
    assert answer.json()["reference"] in answer.json()["detail"]
    assert "secret" not in answer.text


async def test_a_bus_that_is_away_is_503_with_retry_after(house: House) -> None:
    """What was not confirmed is not accepted."""
    await house.bus.close()
    async with house.client() as client:
        answers = [
            await client.post(START, json={"order_id": "o-1", "amount": 1}),
            await client.post("/events", json={"type": "order.paid.v1", "data": {"order_id": "o-1"}}),
        ]
    await house.bus.start()
    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:antiphon:problem:bus-unavailable")
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", [START, "/events"])
@pytest.mark.parametrize(
    "members",
    [
        {f"m{n}": 1 for n in range(5_000)},
        {"m" * 100_000: 1},
        {"m" * 100_000: [2**64] * 20},
        {"m" * 100_000: {"n" * 100_000: 2**64}},
    ],
)
async def test_what_is_wrong_with_a_body_is_said_in_few_words(
    house: House, path: str, members: dict[str, Any]
) -> None:
    """An answer that is many times its request would be what fills the memory and the line."""
    async with house.client("admin") as client:
        answer = await client.post(path, json={"type": "order.paid.v1", "data": {}, **members})
    assert answer.status_code == 422
    assert len(answer.content) < 20_000
