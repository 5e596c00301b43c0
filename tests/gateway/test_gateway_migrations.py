"""A run is moved to another version over HTTP: asked for, looked at, and told in its history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import tests.gateway.house as houses
from orchestrator.flow import Flow
from orchestrator.nodes import step, wait
from store.tables import audit
from tests.gateway.house import House, price, until

PLACED = {"order_id": "o-1", "amount": 3}
GO = wait(signal="go")


def visit(version: int, *names: str) -> Flow:
    """A flow that waits between two steps."""
    first, last = (step(price, name=name) for name in names)
    return Flow("visit", version, "order_id", "order.placed.v1", [first, GO, last])


@pytest.fixture
async def moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[House, str]]:
    """A run that was started as version 1, in a house where version 2 has been deployed since."""
    monkeypatch.setattr(houses, "FLOWS", (visit(1, "ask", "pay"),))
    before = House(tmp_path)
    await before.open()
    await before.orchestrate()
    async with before.client() as client:
        run = (await client.post("/flows/visit/runs", json=PLACED)).json()["id"]
    await _waits(before, run)
    await before.close()
    monkeypatch.setattr(houses, "FLOWS", (visit(1, "ask", "pay"), visit(2, "price", "pay")))
    house = House(tmp_path)
    await house.open()
    await house.orchestrate()
    yield house, run
    await house.close()


async def _waits(house: House, run: str) -> None:
    async with house.client() as client:

        async def look() -> bool:
            return "waits for" in ((await client.get(f"/runs/{run}")).json()["waiting"] or "")

        await until(look, "the wait")


async def test_a_run_is_moved_and_its_story_tells_it(moving: tuple[House, str]) -> None:
    """First looked at, then refused with the reason, then moved; the audit log knows."""
    house, run = moving
    async with house.client("operator") as client:
        address = f"/runs/{run}/migrate"
        looked = await client.post(address, json={"to": 2, "dry_run": True})
        assert (looked.status_code, looked.json()["possible"]) == (200, False)
        (reason,) = looked.json()["reasons"]
        assert "'price' comes before where the run stands in version 2" in reason
        refused = await client.post(address, json={"to": 2})
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:antiphon:problem:not-migratable")
        assert refused.json()["reasons"] == [reason]
        move = {"to": 2, "renames": {"ask": "price"}, "reason": "better words"}
        fine = await client.post(address, json={**move, "dry_run": True})
        assert fine.json() == {"run": run, "to": 2, "possible": True, "reasons": []}
        asked = await client.post(address, json=move)
        assert (asked.status_code, asked.json()["accepted"]) == (202, "migrate")

        async def moved() -> bool:
            return bool((await client.get(f"/runs/{run}")).json()["version"] == 2)

        await until(moved, "the move")
        facts = (await client.get(f"/runs/{run}/history")).json()["items"]
        (fact,) = [fact for fact in facts if fact["type"] == "run_migrated"]
        assert (fact["data"]["from"], fact["data"]["to"], fact["data"]["reason"]) == (1, 2, "better words")
        await client.post(f"/runs/{run}/signals/go")

        async def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = (await client.get(f"/runs/{run}")).json()
            return found if found["ended_at"] else None

        assert (await until(ended, "the end"))["status"] == "completed"
        late = await client.post(address, json={"to": 1})
        assert (late.status_code, late.json()["type"]) == (409, "urn:antiphon:problem:run-ended")
    deeds = await house.database.read(lambda conn: conn.execute(select(audit)).all())
    assert ("run.migrate", "better words") in [(deed.action, deed.reason) for deed in deeds]


async def test_what_is_no_move_is_refused_with_the_place(moving: tuple[House, str]) -> None:
    """A version that is not there, names that are none, a body without a version; nor may everybody."""
    house, run = moving
    address = f"/runs/{run}/migrate"
    async with house.client("operator") as client:
        nowhere = await client.post(address, json={"to": 7})
        assert (nowhere.status_code, nowhere.json()["type"]) == (409, "urn:antiphon:problem:not-migratable")
        assert "no version 7" in nowhere.json()["detail"]
        for body, pointer in (
            ({}, "/to"),
            ({"to": 0}, "/to"),
            ({"to": True}, "/to"),
            ({"to": 2, "renames": {"a": 1}}, "/renames"),
            ({"to": 2, "without": ["\0"]}, "/without"),
        ):
            answer = await client.post(address, json=body)
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
        assert (await client.post("/runs/nobody/migrate", json={"to": 2})).status_code == 404
    async with house.client("publisher") as client:
        assert (await client.post(address, json={"to": 2})).status_code == 403
