"""Runs over HTTP, with a real orchestrator behind the gateway."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from store.archive import Archive
from store.retention import Retention
from store.tables import audit, idempotency, runs
from tests.gateway.house import House, until

PLACED = {"order_id": "o-1", "amount": 3}
WAIT = {"Prefer": "wait=15"}


async def ended(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    """The run at this address, once it has ended."""

    async def look() -> dict[str, Any] | None:
        run: dict[str, Any] = (await client.get(address)).json()
        return run if run["ended_at"] else None

    found: dict[str, Any] = await until(look, f"{address} to end")
    return found


async def test_a_run_is_accepted_with_its_address_and_then_has_its_result(working_house: House) -> None:
    """202 says that the run is durable, and Location is where its result will be."""
    async with working_house.client("publisher") as client:
        started = await client.post("/flows/order/runs", json=PLACED)
        assert started.status_code == 202
        assert started.headers["location"] == f"/runs/{started.json()['id']}"
        assert started.json()["status"] == "running"
        run = await ended(client, started.headers["location"])
    assert (run["status"], run["result"], run["input"]) == ("completed", {"total": 6}, PLACED)


async def test_a_caller_that_waits_gets_the_result_itself(working_house: House) -> None:
    """Prefer: wait answers 200 with the result, and says that it did wait (RFC 7240)."""
    async with working_house.client() as client:
        done = await client.post("/flows/order/runs", json=PLACED, headers=WAIT)
    assert done.status_code == 200
    assert done.headers["preference-applied"] == "wait=15"
    assert (done.json()["status"], done.json()["result"]) == ("completed", {"total": 6})


async def test_a_wait_is_found_behind_other_preferences(working_house: House) -> None:
    """Several Prefer fields are as one (RFC 7240 §2): libraries and proxies add their own."""
    headers = [("Prefer", "respond-async"), ("Prefer", "wait=15")]
    async with working_house.client() as client:
        done = await client.post("/flows/order/runs", json=PLACED, headers=headers)
    assert (done.status_code, done.headers.get("preference-applied")) == (200, "wait=15")


async def test_a_caller_that_waits_in_vain_gets_the_address(working_house: House) -> None:
    """When the result does not come in time, the answer is 202 as if nobody had waited."""
    async with working_house.client() as client:
        started = await client.post("/flows/approval/runs", json=PLACED, headers={"Prefer": "wait=0"})
    assert started.status_code == 202
    assert started.headers["preference-applied"] == "wait=0"
    assert started.headers["retry-after"] == "1"


async def test_a_run_that_fails_is_a_result_too(working_house: House) -> None:
    """A waiting caller is told of a failed run with 200: asking worked, and ``error`` says the rest."""
    async with working_house.client() as client:
        done = await client.post("/flows/declined/runs", json=PLACED, headers=WAIT)
    assert done.status_code == 200
    assert done.json()["status"] in ("failed", "compensated")
    assert done.json()["error"]["code"] == "declined"


async def test_the_same_start_again_is_the_same_run(working_house: House) -> None:
    """The flow's key makes a start idempotent: the second is answered with the run as it stands."""
    async with working_house.client() as client:
        first = await client.post("/flows/order/runs", json=PLACED, headers=WAIT)
        second = await client.post("/flows/order/runs", json=PLACED)
    assert second.status_code == 200
    assert second.json() == first.json()


async def test_the_same_key_with_another_input_is_a_conflict(working_house: House) -> None:
    """409, with the address of the run that has the key."""
    async with working_house.client() as client:
        first = await client.post("/flows/order/runs", json=PLACED)
        second = await client.post("/flows/order/runs", json={**PLACED, "amount": 4})
    assert second.status_code == 409
    assert second.json()["type"] == "urn:antiphon:problem:start-conflict"
    assert second.headers["location"] == second.json()["run"] == first.headers["location"]


async def test_an_idempotency_key_gives_the_first_answer_again(working_house: House) -> None:
    """The same request gets the same answer, marked as replayed, even when the run has gone on since."""
    headers = {"Idempotency-Key": "k-1"}
    async with working_house.client() as client:
        first = await client.post("/flows/order/runs", json=PLACED, headers=headers)
        await ended(client, first.headers["location"])
        second = await client.post("/flows/order/runs", json=PLACED, headers=headers)
    assert (second.status_code, second.json()) == (first.status_code, first.json())
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["location"] == first.headers["location"]


async def test_an_idempotency_key_of_another_request_is_refused(working_house: House) -> None:
    """The same key with another body, or on another path, is 422 and starts nothing."""
    headers = {"Idempotency-Key": "k-1"}
    async with working_house.client() as client:
        await client.post("/flows/order/runs", json=PLACED, headers=headers)
        other_body = await client.post(
            "/flows/order/runs", json={"order_id": "o-2", "amount": 1}, headers=headers
        )
        other_path = await client.post("/flows/approval/runs", json=PLACED, headers=headers)
        count = len((await client.get("/runs")).json()["items"])
    assert [other_body.status_code, other_path.status_code] == [422, 422]
    assert other_body.json()["type"] == "urn:antiphon:problem:idempotency-reuse"
    assert count == 1


async def test_an_idempotency_key_is_stored_before_the_work(house: House) -> None:
    """When the bus fails in the middle, the key is there already, and a repeat does the work after all."""
    headers = {"Idempotency-Key": "k-1"}
    async with house.client() as client:
        await house.bus.close()
        failed = await client.post("/flows/order/runs", json=PLACED, headers=headers)
        stored = await house.database.read(lambda conn: conn.execute(select(idempotency)).all())
        await house.bus.start()
        await house.orchestrate()
        again = await client.post("/flows/order/runs", json=PLACED, headers={**headers, **WAIT})
    assert failed.status_code == 503
    assert failed.headers["retry-after"]
    assert [(row.key, row.status) for row in stored] == [("client:k-1", None)]
    assert (again.status_code, again.json()["status"]) == (200, "completed")


async def test_an_idempotency_key_belongs_to_one_workspace(working_house: House) -> None:
    """Two tenants that use the same key do not meet."""
    headers = {"Idempotency-Key": "k-1"}
    other = await working_house.key("admin", workspace="globex")
    async with working_house.client() as ours, working_house.client(key=other) as theirs:
        first = await ours.post("/flows/order/runs", json=PLACED, headers=headers)
        second = await theirs.post("/flows/order/runs", json={**PLACED, "amount": 9}, headers=headers)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] != second.json()["id"]


async def test_a_run_that_nobody_has_started_yet_says_so(house: House) -> None:
    """Without an orchestrator a start is safe on the bus, and its address says so."""
    async with house.client() as client:
        started = await client.post("/flows/order/runs", json=PLACED)
        assert (started.status_code, started.json()["status"]) == (202, "accepted")
        shown = await client.get(started.headers["location"])
        assert (shown.status_code, shown.json()["status"]) == (202, "accepted")
        assert shown.json()["waiting"] == "accepted, not started yet"
        asked = await client.post(f"{started.headers['location']}/cancel")
        assert (asked.status_code, asked.json()["type"]) == (409, "urn:antiphon:problem:not-started")
        await house.orchestrate()
        run = await ended(client, started.headers["location"])
    assert run["status"] == "completed"


async def test_runs_are_found_by_flow_status_key_and_time(working_house: House) -> None:
    """Each filter narrows the list, and none shows what it should not."""
    async with working_house.client() as client:
        for order in ("o-1", "o-2", "p-1"):
            await client.post("/flows/order/runs", json={"order_id": order, "amount": 1}, headers=WAIT)
        await client.post("/flows/declined/runs", json=PLACED, headers=WAIT)

        async def keys(query: str) -> list[str]:
            found = await client.get(f"/runs?{query}")
            assert found.status_code == 200, found.text
            return [run["key"] for run in found.json()["items"]]

        assert await keys("flow=order") == ["p-1", "o-2", "o-1"]
        assert await keys("status=completed&key=o-2") == ["o-2"]
        assert await keys("flow=order&key=o-*") == ["o-2", "o-1"]
        assert await keys("status=running") == []
        assert await keys("flow=nothing") == []
        assert await keys("from=2999-01-01T00:00:00Z") == []
        assert len(await keys("to=2999-01-01T00:00:00Z")) == 4


async def test_pages_follow_each_other_without_gaps_or_repeats(working_house: House) -> None:
    """The cursor goes on exactly behind the last run shown."""
    async with working_house.client() as client:
        for number in range(5):
            await client.post(
                "/flows/order/runs", json={"order_id": f"o-{number}", "amount": 1}, headers=WAIT
            )
        seen, cursor = [], ""
        while cursor is not None:
            page = (await client.get(f"/runs?limit=2{cursor and '&cursor=' + cursor}")).json()
            seen += [run["key"] for run in page["items"]]
            cursor = page["next"]
    assert seen == [f"o-{number}" for number in (4, 3, 2, 1, 0)]


async def test_history_is_in_order_and_in_pages(working_house: House) -> None:
    """Facts come by their number, and ``next`` goes on behind the last."""
    async with working_house.client() as client:
        done = (await client.post("/flows/order/runs", json=PLACED, headers=WAIT)).json()
        whole = (await client.get(done["links"]["history"])).json()
        first = (await client.get(done["links"]["history"], params={"limit": 2})).json()
        rest = (await client.get(done["links"]["history"], params={"after": first["next"]})).json()
    types = [fact["type"] for fact in whole["items"]]
    assert types[0] == "run_started"
    assert types[-1] == "run_completed"
    assert [fact["seq"] for fact in whole["items"]] == list(range(1, len(types) + 1))
    assert first["items"] + rest["items"] == whole["items"]


async def test_a_signal_lets_a_run_go_on(working_house: House) -> None:
    """What waits for a signal takes its data; the signal is in the audit log with its actor."""
    async with working_house.client("publisher") as client:
        started = await client.post("/flows/approval/runs", json=PLACED)
        sent = await client.post(f"{started.headers['location']}/signals/approve", json={"by": "ann"})
        assert sent.status_code == 202
        run = await ended(client, started.headers["location"])
    deeds = await working_house.database.read(lambda conn: conn.execute(select(audit)).all())
    assert run["status"] == "completed"
    assert [(deed.action, deed.target) for deed in deeds] == [("run.signal", f"run/{run['id']}")]
    assert deeds[0].actor.startswith("key:k-")


async def test_a_cancelled_run_ends_and_the_reason_is_kept(working_house: House) -> None:
    """Cancel is asked with a reason that the audit log has; an ended run takes no other."""
    async with working_house.client("operator") as client:
        started = await client.post("/flows/approval/runs", json=PLACED)
        address = started.headers["location"]
        asked = await client.post(f"{address}/cancel", json={"reason": "a mistake"})
        run = await ended(client, address)
        again = await client.post(f"{address}/cancel")
    deeds = await working_house.database.read(lambda conn: conn.execute(select(audit)).all())
    assert (asked.status_code, run["status"]) == (202, "cancelled")
    assert (again.status_code, again.json()["type"]) == (409, "urn:antiphon:problem:run-ended")
    assert [(deed.action, deed.reason) for deed in deeds] == [("run.cancel", "a mistake")]


async def test_an_ended_run_is_retried_as_a_new_one(working_house: House) -> None:
    """Retry of an ended run makes a new run with its own address, linked to the old, which stays."""
    async with working_house.client("operator") as client:
        old = (await client.post("/flows/declined/runs", json=PLACED, headers=WAIT)).json()
        asked = await client.post(f"{old['links']['self']}/retry", json={"reason": "again"})
        assert asked.status_code == 202
        assert asked.headers["location"] != old["links"]["self"]

        async def there() -> dict[str, Any] | None:
            found = await client.get(asked.headers["location"])
            return found.json() if found.status_code == 200 else None

        new = await until(there, "the new run")
        assert new["linked_from"] == old["id"]
        still = (await client.get(old["links"]["self"])).json()
        assert {**still, "updated_at": old["updated_at"]} == old
        wrong = await client.post(f"{old['links']['self']}/retry", json={"from_node": "nowhere"})
    assert (wrong.status_code, wrong.json()["type"]) == (409, "urn:antiphon:problem:not-retryable")


async def test_a_paused_run_goes_on_when_it_is_resumed(working_house: House) -> None:
    """Paused, a run takes a signal and does nothing with it until it is resumed."""
    async with working_house.client("operator") as client:
        started = await client.post("/flows/approval/runs", json=PLACED)
        address = started.headers["location"]
        assert (await client.post(f"{address}/pause", json={"reason": "wait"})).status_code == 202

        async def paused() -> bool:
            return bool((await client.get(address)).json()["status"] == "paused")

        await until(paused, "the run to be paused")
        await client.post(f"{address}/signals/approve")
        assert (await client.post(f"{address}/resume")).status_code == 202
        assert (await ended(client, address))["status"] == "completed"


async def test_another_workspace_sees_none_of_it(working_house: House) -> None:
    """Another workspace's run is not forbidden, it is not there: for reads and for each action."""
    other = await working_house.key("admin", workspace="globex")
    async with working_house.client() as ours, working_house.client(key=other) as theirs:
        address = (await ours.post("/flows/approval/runs", json=PLACED)).headers["location"]
        answers = [await theirs.get(address), await theirs.get(f"{address}/history")]
        for action in ("signals/approve", "cancel", "retry", "pause", "resume"):
            answers.append(await theirs.post(f"{address}/{action}"))
        answers.append(await theirs.get(f"/stories/{address.removeprefix('/runs/')}"))
        assert (await theirs.get("/runs")).json()["items"] == []
        assert (await ours.get(address)).json()["status"] == "running"
    assert [answer.status_code for answer in answers] == [404] * len(answers)


async def test_many_starts_of_one_key_at_once_make_one_run(working_house: House) -> None:
    """Whoever comes first starts it; all others are told of the same run."""
    async with working_house.client() as client:
        answers = await asyncio.gather(*(client.post("/flows/approval/runs", json=PLACED) for _ in range(10)))
    found = await working_house.database.read(lambda conn: conn.execute(select(runs.c.id)).all())
    assert len(found) == 1
    assert {answer.json()["id"] for answer in answers} == {found[0].id}
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [202]


@pytest.mark.parametrize("path", ["/runs/%00", "/runs/nothing", "/runs/nothing/history", "/stories/nothing"])
async def test_an_address_of_nothing_is_404(house: House, path: str) -> None:
    """What is not there is a problem with status 404, whatever the address looks like."""
    async with house.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_flows_are_listed_and_shown_as_data_and_as_a_graph(house: House) -> None:
    """A client can learn what to send: the input's contract, the JSON form and the graph."""
    async with house.client("viewer") as client:
        listed = (await client.get("/flows")).json()["items"]
        shown = (await client.get("/flows/order")).json()
        missing = await client.get("/flows/nothing")
        old = [await client.get(f"/flows/order?version={version}") for version in (7, 0)]
    assert [flow["name"] for flow in listed] == ["approval", "declined", "order"]
    assert shown["definition"]["flow"] == "order"
    assert shown["input_schema"]["required"] == ["order_id", "amount"]
    assert {node["id"] for node in shown["graph"]["nodes"]} >= {"price"}
    assert [answer.status_code for answer in (missing, *old)] == [404, 404, 404]


async def test_a_purged_run_is_gone_and_is_not_run_again(working_house: House, tmp_path: Path) -> None:
    """Its address and a repeat of its start say so, whatever the input; another key is free."""
    house = working_house
    async with house.client() as http:
        order = {"order_id": "old", "amount": 3}
        began = await http.post("/flows/order/runs", json=order, headers={"Prefer": "wait=10"})
        id = began.json()["id"]
        assert began.json()["status"] == "completed"
        archive = Archive(tmp_path / "archive", random_id=lambda: "x")
        swept = await Retention(house.database, archive, clock=lambda: time.time() + 60).sweep(1.0)
        assert swept.purged["run"] == 1
        for input in (order, {**order, "amount": 4}):
            again = await http.post("/flows/order/runs", json=input)
            assert (again.status_code, again.json()["type"]) == (410, "urn:antiphon:problem:run-purged")
        for path in (f"/runs/{id}", f"/runs/{id}/history"):
            gone = await http.get(path)
            assert (gone.status_code, gone.json()["type"]) == (410, "urn:antiphon:problem:run-purged")
            assert "ended as completed" in gone.json()["detail"]
        other = await http.post(
            "/flows/order/runs", json={**order, "order_id": "new"}, headers={"Prefer": "wait=10"}
        )
        assert other.json()["status"] == "completed"
    assert house.told.events.count("old") == 1
