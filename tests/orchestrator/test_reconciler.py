"""Every run that has not ended has a reason to wait that can still happen, or is listed as stuck."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, update

from orchestrator import partition as partitions
from orchestrator.context import StepContext
from orchestrator.journal import QuietRun
from orchestrator.nodes import sleep, step, wait
from orchestrator.reconciler import Doubts, Reconciler, doubts_about
from store import tables
from tests.orchestrator.flows import flow
from tests.orchestrator.running import House

RETRYING = {"kind": "step", "here": True, "dispatch": 1, "retry_at": 9.0}


def quiet(**active: dict[str, Any]) -> QuietRun:
    """A run with these nodes at work."""
    return QuietRun("r", active, held=[], paused=False)


@pytest.mark.parametrize(
    ("run", "timers", "doubts"),
    [
        (quiet(a={"kind": "step", "here": True, "dispatch": 2}), set(), Doubts(lost=(("a", 2),))),
        (quiet(b={"kind": "step", "here": True, "dispatch": 1}), set(), Doubts()),
        (quiet(a={"kind": "step", "here": True, "dispatch": 1, "retry_at": 9.0}), {"a"}, Doubts()),
        (
            quiet(a={"kind": "step", "here": True, "dispatch": 1, "retry_at": 9.0}),
            set(),
            Doubts(timers=("a",)),
        ),
        (quiet(a={"kind": "step", "service": "x", "due": 9.0}), {"b"}, Doubts(timers=("a",))),
        (quiet(a={"kind": "wait", "type": "t"}), set(), Doubts()),
        (quiet(a={"kind": "wait", "type": "t", "due": 9.0}), {"a"}, Doubts()),
        (quiet(a={"kind": "sleep", "due": 9.0}), set(), Doubts(timers=("a",))),
        (quiet(a={"kind": "call", "child": "c"}), set(), Doubts()),
        (quiet(a={"kind": "step", "here": True, "dispatch": 1, "stuck": {"code": "x"}}), set(), Doubts()),
        (quiet(), set(), Doubts(nothing=True)),
        (QuietRun("r", {}, held=[], paused=True), set(), Doubts()),
        (QuietRun("r", {}, held=["a"], paused=False), set(), Doubts()),
    ],
)
def test_each_reason_to_wait_is_proved(run: QuietRun, timers: set[str], doubts: Doubts) -> None:
    """Only node b is in hand here."""
    assert doubts_about(run, timers, lambda run_id, node: node == "b") == doubts


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconcilers that look all the time, at everything."""

    def quick(*args: Any, **more: Any) -> Reconciler:
        return Reconciler(*args, **more, every=0.1, quiet=0.3)

    monkeypatch.setattr(partitions, "Reconciler", quick)


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
    emptied = (await house.run(receipt.run_id))["state"].replace('"said":{', '"gone":{', 1)
    emptied = emptied.replace(
        emptied[emptied.index('"active":') : emptied.index(',"results"')], '"active":{}'
    )
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


async def test_it_outlives_what_it_does_not_expect() -> None:
    """A row that it can't read costs one look, not the reconciler."""
    looks: list[str] = []

    class Odd:
        async def quiet(self, partition: int, **more: Any) -> list[QuietRun]:
            looks.append(more["after"])
            raise KeyError("dispatch")

    def nothing(*args: Any) -> Any:
        raise AssertionError("nothing is found")

    reconciler = Reconciler(Odd(), 0, clock=lambda: 0.0, works=nothing, happened=nothing, every=0.01)  # type: ignore[arg-type]
    reconciler.start()
    async with asyncio.timeout(10):
        while len(looks) < 3:
            await asyncio.sleep(0.01)
    await reconciler.stop()
