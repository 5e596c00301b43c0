"""Every run that has not ended has a reason to wait that can still happen, or is listed with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, update

from orchestrator import partition as partitions
from orchestrator import reconciler as reconcilers
from orchestrator.context import StepContext
from orchestrator.flow import run_id_of
from orchestrator.nodes import call, sleep, step, wait
from orchestrator.reconciler import Reconciler
from store import tables
from store.bulk import insert_rows
from tests.orchestrator.flows import flow
from tests.orchestrator.pretending import Pretended, asked, row_of
from tests.orchestrator.running import House, until


async def nothing(ctx: StepContext) -> dict[str, Any]:
    return {"key": ctx.run_key}


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconcilers that look all the time, at everything."""

    def quick(*args: Any, **more: Any) -> Reconciler:
        return Reconciler(*args, **more, every=0.1, quiet=0.3)

    monkeypatch.setattr(partitions, "Reconciler", quick)
    monkeypatch.setattr(reconcilers, "_PATIENCE", 0.5)


@pytest.mark.usefixtures("watchful")
async def test_a_timer_that_is_gone_is_set_again(house: House) -> None:
    """Somebody deleted its row, as a bug might have: the sleep ends all the same."""
    made = flow(sleep("13s", name="nap"))  # beyond what is kept in memory
    await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    await house.until_fact(receipt.run_id, "timer_started")
    await house.database.write(lambda connection: connection.execute(delete(tables.timers)) and None)
    async with asyncio.timeout(20):
        while not await house.rows(tables.timers):
            await asyncio.sleep(0.05)
    (timer,) = await house.rows(tables.timers)
    assert (timer["run_id"], timer["name"]) == (receipt.run_id, "nap")
    assert (await house.until(receipt.run_id, "completed"))["key"] == "k1"


@pytest.mark.usefixtures("watchful")
async def test_work_that_nobody_has_in_hand_is_started_again(house: House) -> None:
    """A step's task vanished: it is dispatched once more, and its result counts once."""
    began: list[int] = []

    async def slow(ctx: StepContext) -> dict[str, Any]:
        began.append(ctx.attempt)
        if len(began) == 1:
            await asyncio.sleep(60)
        return {"n": len(began)}

    made = flow(step(slow))
    orchestrator = await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    async with asyncio.timeout(20):
        while not began:
            await asyncio.sleep(0.02)
    orchestrator._executor.abandon(receipt.run_id, "slow")
    assert (await house.until(receipt.run_id, "completed"))["key"] == "k1"
    types = await house.types(receipt.run_id)
    assert types.count("step_scheduled") == 2
    assert types.count("step_completed") == 1
    assert began == [1, 1]


@pytest.mark.usefixtures("watchful")
async def test_a_run_with_nothing_left_to_wait_for_is_listed_as_stuck(house: House) -> None:
    """A state that no fact leads to: it is shown with a reason, not forgotten."""
    made = flow(wait("x.said.v1", by="id", name="said"))
    orchestrator = await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    await house.until_fact(receipt.run_id, "wait_started")
    state = orjson.loads((await house.run(receipt.run_id))["state"])
    assert set(state.pop("active")) == {"said"}
    emptied = orjson.dumps(state).decode()
    change = update(tables.runs).where(tables.runs.c.id == receipt.run_id).values(state=emptied)
    for partition in orchestrator._partitions.values():
        partition._runs.clear()
    await house.database.write(lambda connection: connection.execute(change) and None)
    run = await house.until(receipt.run_id, "stuck")
    assert "nothing that could move it is left" in run["waiting"]


@pytest.mark.usefixtures("watchful")
async def test_a_run_that_waits_for_good_reason_is_left_alone(house: House) -> None:
    """No fact, no commit: being looked at changes nothing."""
    made = flow(wait("x.said.v1", by="id", timeout="1h", name="said"))
    await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    await house.until_fact(receipt.run_id, "wait_started")
    before = await house.run(receipt.run_id)
    other = await house.start(made, "k2")
    await house.until_fact(other.run_id, "wait_started")
    await asyncio.sleep(1.0)
    assert await house.run(receipt.run_id) == before


@pytest.mark.usefixtures("watchful")
async def test_a_child_that_is_gone_is_asked_for_again(house: House) -> None:
    """As if its start had been lost: it begins, and its parent gets its answer."""
    sub = flow(wait("x.said.v1", by="id", name="said"), name="sub")
    made = flow(call("sub", input={"id": "$.input.id"}, name="sub"))
    orchestrator = await house.orchestrate(made, sub)
    receipt = await house.start(made, "k1")
    child = run_id_of("acme", "sub", "k1")
    await house.until_fact(child, "wait_started")

    def lose(connection: Any) -> None:
        connection.execute(delete(tables.runs).where(tables.runs.c.id == child))
        connection.execute(delete(tables.history).where(tables.history.c.run_id == child))

    for partition in orchestrator._partitions.values():
        partition._runs.clear()
    await house.database.write(lose)
    await house.until_fact(receipt.run_id, "run_repaired", "sub")
    await house.until_fact(child, "wait_started")
    await house.publish("x.said.v1", "k1")
    assert (await house.until(receipt.run_id, "completed"))["key"] == "k1"


@pytest.mark.usefixtures("watchful")
async def test_an_answer_of_a_child_that_is_lost_is_asked_for_again(house: House) -> None:
    """The child has ended, and its parent waits: as if the answer had never been published."""
    sub = flow(step(nothing), name="sub")
    made = flow(call("sub", input={"id": "$.input.id"}, name="sub"))
    await house.orchestrate(made, sub)
    receipt = await house.start(made, "k1")
    await house.until(receipt.run_id, "completed")
    child = run_id_of("acme", "sub", "k1")
    history = await house.history(receipt.run_id)
    waited = Pretended(made, asked(made, run_id=receipt.run_id), flow=lambda *of: sub).run
    waited.partition = (await house.run(receipt.run_id))["partition"]
    assert [fact["type"] for fact in history[:2]] == ["run_started", "child_started"]
    assert waited.active["sub"]["child"] == child

    def undo(connection: Any) -> None:
        """The parent as it was before the answer."""
        connection.execute(delete(tables.runs).where(tables.runs.c.id == receipt.run_id))
        connection.execute(
            delete(tables.history).where(tables.history.c.run_id == receipt.run_id, tables.history.c.seq > 2)
        )
        connection.execute(delete(tables.marks).where(tables.marks.c.run_id == receipt.run_id))
        insert_rows(connection, tables.runs, [row_of(waited)])

    await house.database.write(undo)
    assert (await house.until(receipt.run_id, "completed"))["key"] == "k1"
    types = await house.types(receipt.run_id)
    assert types[2] == "run_repaired"
    assert types[-2:] == ["child_ended", "run_completed"]
    assert (await house.types(child)).count("step_scheduled") == 1


# --- what it finds is kept ----------------------------------------------------------------------


@pytest.mark.usefixtures("watchful")
async def test_what_it_finds_can_be_read_by_everybody(house: House) -> None:
    """How many are proved, which are not, and what was repaired since the store was made."""
    made, other = flow(wait("x.said.v1", by="id", name="said")), flow(step(nothing), version=2)
    orchestrator = await house.orchestrate(made, other)
    receipts = [await house.start(made, f"k{number}") for number in range(3)]
    for receipt in receipts:
        await house.until_fact(receipt.run_id, "wait_started")

    async def findings() -> dict[str, Any]:
        rows = await house.rows(tables.reconciliations)
        listed = [run for row in rows for run in orjson.loads(row["listed"])]
        return {"proved": sum(row["proved"] for row in rows), "listed": listed}

    async def all_proved() -> bool:
        return (await findings())["proved"] == 3

    await until(all_proved, lambda: "three runs to be proved")
    odd = receipts[0].run_id
    broken = update(tables.runs).where(tables.runs.c.id == odd).values(state="not JSON")
    old = update(tables.runs).where(tables.runs.c.id == receipts[1].run_id).values(version=7)
    for partition in orchestrator._partitions.values():
        partition._runs.clear()
    for change in (broken, old):
        await house.database.write(lambda connection, change=change: connection.execute(change) and None)

    async def listed() -> bool:
        found = await findings()
        return found["proved"] == 1 and len(found["listed"]) == 2

    await until(listed, lambda: "two runs to be listed")
    by_code = {run["code"]: run for run in (await findings())["listed"]}
    assert by_code["unreadable"]["run_id"] == odd
    assert "log of its owner" in by_code["unreadable"]["reason"]
    lacking = by_code["flow_version_missing"]
    assert (lacking["run_id"], lacking["flow"], lacking["version"]) == (receipts[1].run_id, "f", 7)
