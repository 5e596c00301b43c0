"""Versions in flight: a new version is deployed under runs of the old one, and some of them are moved."""

from __future__ import annotations

import asyncio

import pytest

from contracts.errors import NotMigratable, RunEnded, UnknownFlow
from orchestrator.migration import Move
from orchestrator.nodes import wait
from tests.orchestrator.flows import flow, here, undoable
from tests.orchestrator.running import WORKSPACE, House

GO = wait("x.said.v1", by="id", timeout="1h", name="go")
FIRST = flow(here("a"), GO, undoable("b"), here("c"))
# Renamed: a. Added: new, more. Removed: c.
SECOND = flow(here("start"), GO, here("new"), undoable("b"), here("more"), version=2)
DONE = "step_completed"


def done(history: list[dict[str, object]]) -> list[object]:
    return [fact["node"] for fact in history if fact["type"] == DONE]


async def test_runs_end_as_their_version_says_unless_they_are_moved(house: House) -> None:
    """Version 2 is deployed beside 1: old runs end on 1, new ones on 2, a chosen one moves."""
    await house.orchestrate(FIRST)
    old = [await house.start(FIRST, f"k{number}") for number in range(3)]
    for receipt in old:
        await house.until_fact(receipt.run_id, "wait_started")
    await house.stop_first()

    await house.orchestrate(FIRST, SECOND)
    client = await house.client(FIRST, SECOND)
    new = await client.start(WORKSPACE, "f", {"id": "k9"}, start_id="s9", wait=20.0)
    await house.until_fact(new.run_id, "wait_started")
    with pytest.raises(NotMigratable, match="'start' comes before where the run stands"):
        await client.migrate(WORKSPACE, old[0].run_id, Move(2), reason="mended", actor="ann")
    with pytest.raises(UnknownFlow, match="no version 3"):
        await client.migrate(WORKSPACE, old[0].run_id, Move(3), reason="mended", actor="ann")
    move = Move(2, {"a": "start"})
    assert await client.objections(WORKSPACE, old[0].run_id, move) == []
    await client.migrate(WORKSPACE, old[0].run_id, move, reason="mended", actor="ann")
    await house.until_fact(old[0].run_id, "run_migrated")
    assert (await house.run(old[0].run_id))["version"] == 2

    for key in ("k0", "k1", "k2", "k9"):
        await house.publish("x.said.v1", key)
    ended = {receipt.run_id: await house.until(receipt.run_id, "completed") for receipt in (*old, new)}
    histories = {run_id: await house.history(run_id) for run_id in ended}
    assert [run["version"] for run in ended.values()] == [2, 1, 1, 2]
    assert done(histories[old[0].run_id]) == ["a", "new", "b", "more"]
    assert done(histories[old[1].run_id]) == done(histories[old[2].run_id]) == ["a", "b", "c"]
    assert done(histories[new.run_id]) == ["start", "new", "b", "more"]
    with pytest.raises(NotMigratable, match="it has ended as completed"):
        await client.migrate(WORKSPACE, old[1].run_id, move, reason="mended", actor="ann")


async def test_what_changed_since_it_was_asked_is_looked_at_again(house: House) -> None:
    """The owner has the last word, and says in the history why it refuses."""
    await house.orchestrate(FIRST, SECOND)
    client = await house.client(FIRST, SECOND)
    receipt = await client.start(WORKSPACE, "f", {"id": "k1"}, start_id="s1", wait=20.0)
    await house.until_fact(receipt.run_id, "wait_started")
    back = {"to": 1, "renames": {}, "without": [], "reason": "", "actor": "ann"}
    await client._ask("migrate", WORKSPACE, receipt.run_id, back)
    await house.until_fact(receipt.run_id, "migration_refused")
    (refused,) = [fact for fact in await house.history(receipt.run_id) if fact["type"] == "migration_refused"]
    assert "'a' comes before where the run stands in version 1" in refused["data"]["because"][0]
    await client.cancel(WORKSPACE, receipt.run_id, reason="", actor="ann")
    await house.until(receipt.run_id, "failed", "cancelled")
    with pytest.raises((RunEnded, NotMigratable)):
        await client.migrate(WORKSPACE, receipt.run_id, Move(1), reason="", actor="ann")


async def test_an_owner_without_the_new_version_leaves_it_to_one_that_has_it(house: House) -> None:
    """In the middle of a deploy: the request waits, and nothing is decided with the wrong code."""
    await house.orchestrate(FIRST)
    receipt = await house.start(FIRST, "k1")
    await house.until_fact(receipt.run_id, "wait_started")
    client = await house.client(FIRST, SECOND)
    await client.migrate(WORKSPACE, receipt.run_id, Move(2, {"a": "start"}), reason="", actor="ann")
    await asyncio.sleep(0.3)
    assert (await house.run(receipt.run_id))["version"] == 1
    await house.stop_first()
    await house.orchestrate(FIRST, SECOND)
    await house.until_fact(receipt.run_id, "run_migrated")
