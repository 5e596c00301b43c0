"""The same request again, later: one effect, and the first answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Row, Table, delete, update

import gateway.app
import gateway.idempotency
from gateway.app import create_gateway
from gateway.queries.runs import Run, get_runs
from orchestrator.client import Client
from store.tables import idempotency
from tests.gateway.house import House, until

PLACED = {"order_id": "o-1", "amount": 3}


async def lose_the_answers(house: House) -> None:
    """As a gateway leaves it that dies between the work and the storing of its answer."""
    lost = update(idempotency).values(status=None, response=None)
    await house.database.write(lambda conn: conn.execute(lost) and None)


async def test_a_signal_sent_again_has_its_first_answer_also_when_the_run_has_ended(
    working_house: House,
) -> None:
    """Whoever lost the answer asks again later, and must not hear that it came too late."""
    headers = {"Idempotency-Key": "k-1"}
    async with working_house.client("admin") as client:
        started = await client.post("/flows/approval/runs", json=PLACED)
        address = started.headers["location"]

        async def ended() -> bool:
            return bool((await client.get(address)).json().get("ended_at"))

        sent = await client.post(f"{address}/signals/approve", json={"by": "ann"}, headers=headers)
        await until(ended, "the end of the run")
        again = await client.post(f"{address}/signals/approve", json={"by": "ann"}, headers=headers)
        other = await client.post(f"{address}/signals/approve", json={"by": "ann"})
    assert (again.status_code, again.json()) == (sent.status_code, sent.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 409


async def test_a_signal_that_was_taken_is_not_too_late_when_only_its_answer_was_lost(
    working_house: House,
) -> None:
    """The gateway died before it had stored the answer; the repeat comes when the run has ended."""
    headers = {"Idempotency-Key": "k-1"}
    async with working_house.client("admin") as client:
        address = (await client.post("/flows/approval/runs", json=PLACED)).headers["location"]

        async def ended() -> bool:
            return bool((await client.get(address)).json().get("ended_at"))

        sent = await client.post(f"{address}/signals/approve", json={"by": "ann"}, headers=headers)
        await until(ended, "the end of the run")
        await lose_the_answers(working_house)
        again = await client.post(f"{address}/signals/approve", json={"by": "ann"}, headers=headers)
        late = await client.post(
            f"{address}/signals/approve", json={"by": "ann"}, headers={"Idempotency-Key": "k-2"}
        )
    assert (again.status_code, again.json()) == (sent.status_code, sent.json())
    assert "idempotency-replayed" not in again.headers
    assert (late.status_code, late.json()["type"]) == (409, "urn:antiphon:problem:run-ended")


async def test_a_retry_sent_again_makes_no_further_run(working_house: House) -> None:
    """Its repeat has the first answer, also where that was lost before it was stored."""
    headers = {"Idempotency-Key": "k-1"}
    async with working_house.client("admin") as client:
        old = (await client.post("/flows/declined/runs", json=PLACED, headers={"Prefer": "wait=15"})).json()
        retry = partial(client.post, f"{old['links']['self']}/retry", json={"reason": "again"})
        first = await retry(headers=headers)

        async def made() -> bool:
            return (await client.get(first.headers["location"])).status_code == 200

        await until(made, "the new run")
        second = await retry(headers=headers)
        await lose_the_answers(working_house)
        third = await retry(headers=headers)
        other = await client.post(f"{old['links']['self']}/retry", json={"reason": "no"}, headers=headers)
        further = await retry(headers={"Idempotency-Key": "k-2"})
    assert [answer.headers["location"] for answer in (second, third)] == [first.headers["location"]] * 2
    assert second.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["type"]) == (422, "urn:antiphon:problem:idempotency-reuse")
    assert further.headers["location"] not in (old["links"]["self"], first.headers["location"])


async def test_who_asks_for_a_run_that_has_ended_does_not_wait_for_its_end(
    working_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Prefer: wait`` on a start that is a repeat: the answer is there, and nobody will tell of it again."""
    headers = {"Prefer": "wait=15"}
    async with working_house.client("admin") as client:
        first = await client.post("/flows/order/runs", json=PLACED, headers=headers)

        async def never(*_: object) -> bool:
            raise AssertionError("waited for an end that was in the store")

        monkeypatch.setattr(Client, "ended", never)
        again = await client.post("/flows/order/runs", json=PLACED, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.headers["preference-applied"] == "wait=15"


async def test_ends_that_are_asked_for_together_are_few_queries(
    working_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred who wait for their results, and get each its own."""
    asked: list[int] = []

    def counted(conn: Connection, wanted: Sequence[tuple[str, str]]) -> list[Run | None]:
        asked.append(len(wanted))
        return get_runs(conn, wanted)

    monkeypatch.setattr(gateway.app, "get_runs", counted)
    orders = [{"order_id": f"o-{number}", "amount": number} for number in range(1, 21)]
    headers = {"Prefer": "wait=15"}
    app = create_gateway(working_house.platform)
    async with working_house.client("admin", app=app) as client:
        start = partial(client.post, "/flows/order/runs", headers=headers)
        await asyncio.gather(*(start(json=order) for order in orders))
        asked.clear()
        again = await asyncio.gather(*(start(json=order) for order in orders * 10))
    assert [answer.json()["result"] for answer in again] == [{"total": 2 * n} for n in range(1, 21)] * 10
    assert sum(asked) == 200
    assert len(asked) < 100


async def test_a_start_that_was_only_accepted_is_told_what_became_of_it(house: House) -> None:
    """Without an orchestrator two inputs of one key are accepted; the one that came second must hear it."""
    hasty = create_gateway(replace(house.platform, start_wait=0.1))
    other = {**PLACED, "amount": 4}
    async with house.client("admin", app=hasty) as client:
        start = partial(client.post, "/flows/order/runs")
        first = await start(json=PLACED, headers={"Idempotency-Key": "k-1"})
        second = await start(json=other, headers={"Idempotency-Key": "k-2"})
    assert [first.json()["status"], second.json()["status"]] == ["accepted"] * 2
    async with house.client("admin") as client:
        start = partial(client.post, "/flows/order/runs")
        await house.orchestrate()

        async def there() -> bool:
            return (await client.get(first.headers["location"])).status_code == 200

        await until(there, "the run")
        again = await start(json=PLACED, headers={"Idempotency-Key": "k-1"})
        told = await start(json=other, headers={"Idempotency-Key": "k-2"})
    assert (again.status_code, again.json()["status"]) == (202, "running")
    assert (told.status_code, told.json()["type"]) == (409, "urn:antiphon:problem:start-conflict")


async def test_who_waits_is_not_given_the_result_of_another_input(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``Prefer: wait`` on a start that was accepted behind another: the end that comes is the other's."""
    hasty = create_gateway(replace(house.platform, start_wait=0.1))
    async with house.client("admin", app=hasty) as client:
        start = partial(client.post, "/flows/order/runs")
        await start(json=PLACED)
        ended = Client.ended

        async def orchestrated(self: Client, run_id: str, timeout: float) -> bool:
            await house.orchestrate()
            return await ended(self, run_id, timeout)

        monkeypatch.setattr(Client, "ended", orchestrated)
        second = await start(json={**PLACED, "amount": 4}, headers={"Prefer": "wait=15"})
    assert (second.status_code, second.json()["type"]) == (409, "urn:antiphon:problem:start-conflict")


async def test_a_key_that_was_forgotten_may_be_used_for_another_event(house: House) -> None:
    """Reactors remember what they handled for longer than keys are kept; another event is new to them."""
    headers = {"Idempotency-Key": "k-1"}
    async with house.client("publisher") as client:
        for order in ("o-1", "o-2"):
            event = {"type": "order.paid.v1", "data": {"order_id": order}}
            answer = await client.post("/events", json=event, headers=headers)
            assert answer.status_code == 202

            async def told(order: str = order) -> bool:
                return order in house.told.events

            await until(told, f"{order} to be told")
            await house.database.write(lambda conn: conn.execute(delete(idempotency)) and None)


async def test_a_request_that_is_refused_gives_its_key_back(working_house: House) -> None:
    """What was refused had no effect, so that the corrected request may use the same key."""
    headers = {"Idempotency-Key": "k-1"}
    order = "/flows/declined/runs"
    async with working_house.client("admin") as client:
        ran = (await client.post(order, json=PLACED, headers={"Prefer": "wait=15"})).json()["links"]["self"]
        conflict = await client.post(order, json={**PLACED, "amount": 4}, headers=headers)
        refused = [
            await client.post(order, json=PLACED, headers={**headers, "X-Correlation-ID": "x" * 201}),
            await client.post("/runs/nothing/signals/approve", headers=headers),
            await client.post("/runs/nothing/retry", headers=headers),
            await client.post(f"{ran}/signals/approve", headers=headers),
            await client.post(f"{ran}/retry", json={"from_node": "nowhere"}, headers=headers),
        ]
        taken = await client.post(order, json={**PLACED, "order_id": "o-2"}, headers=headers)
    assert (conflict.status_code, conflict.headers["location"]) == (409, ran)
    assert [answer.status_code for answer in refused] == [422, 404, 404, 409, 409]
    assert [answer.json()["type"].rpartition(":")[2] for answer in refused] == [
        "invalid-parameter",
        "run-not-found",
        "run-not-found",
        "run-ended",
        "not-retryable",
    ]
    assert taken.status_code == 202


async def test_a_key_that_is_given_back_while_it_is_asked_for_is_taken(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL another gateway may give it back between our insert and our look at what was there."""
    insert, given_back = gateway.idempotency.insert_rows, []

    def raced(conn: Connection, table: Table, rows: list[dict[str, Any]], **how: Any) -> list[Row[Any]]:
        if table is not idempotency or given_back:
            return insert(conn, table, rows, **how)
        given_back.append(True)
        return []

    monkeypatch.setattr(gateway.idempotency, "insert_rows", raced)
    event = {"type": "order.paid.v1", "data": {"order_id": "o-1"}}
    async with house.client("publisher") as client:
        first = await client.post("/events", json=event, headers={"Idempotency-Key": "k-1"})
        again = await client.post("/events", json=event, headers={"Idempotency-Key": "k-1"})
    assert (first.status_code, again.headers["idempotency-replayed"]) == (202, "true")
