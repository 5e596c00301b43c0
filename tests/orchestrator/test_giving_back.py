"""A process that leaves in good order gives back what it has at work, and nobody takes that for a crash."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.context import StepContext
from orchestrator.happenings import StepReturned
from orchestrator.nodes import step
from tests.orchestrator.flows import flow, here, undoable
from tests.orchestrator.pretending import Pretended
from tests.orchestrator.running import House, until

DEPLOYMENTS = 7  # more than the processes that a step may be lost with


async def test_deployments_during_a_long_step_do_not_park_it(house: House) -> None:
    """Seven owners leave one after the other while it is at work; the eighth sees it end."""
    began, may_end = 0, asyncio.Event()

    async def long(ctx: StepContext) -> dict[str, Any]:
        nonlocal began
        began += 1
        await may_end.wait()
        return {"began": began}

    made = flow(step(long))
    owner = await house.orchestrate(made)
    receipt = await house.start(made, "k")
    for number in range(1, DEPLOYMENTS + 1):

        async def at_work(so_many: int = number) -> bool:
            return began == so_many

        await until(at_work, lambda: f"the {began + 1}th owner to begin")
        await owner.stop(grace=0.05)
        owner = await house.orchestrate(made)
    may_end.set()
    await house.until(receipt.run_id, "completed")
    types = await house.types(receipt.run_id)
    assert types == ["run_started", *["step_scheduled", "step_returned"] * DEPLOYMENTS, *types[-3:]]
    assert types[-3:] == ["step_scheduled", "step_completed", "run_completed"]


async def test_what_a_leaver_orders_and_never_starts_is_given_back(house: House) -> None:
    """A step ends while its process leaves: the next one is somebody else's, and not lost with this one."""
    began, may_end = asyncio.Event(), asyncio.Event()

    async def first(ctx: StepContext) -> None:
        began.set()
        await may_end.wait()

    async def second(ctx: StepContext) -> None:
        assert leaving.done()

    made = flow(step(first), step(second))
    leaver = await house.orchestrate(made)
    receipt = await house.start(made, "k")
    await began.wait()
    leaving = asyncio.create_task(leaver.stop(grace=5.0))

    async def drains() -> bool:
        return all(partition._draining for partition in leaver._partitions.values())

    await until(drains, lambda: "the leaver to start nothing new")
    may_end.set()
    await leaving
    types = await house.types(receipt.run_id)
    assert types[-3:] == ["step_completed", "step_scheduled", "step_returned"]
    await house.orchestrate(made)
    await house.until(receipt.run_id, "completed")


def test_only_processes_that_went_away_with_it_count() -> None:
    """Given back between two crashes, it is as suspect as the crashes make it."""
    run = Pretended(flow(here("a")), most_dispatches=3)
    run.lose_owner()
    assert run.leave() == ["step_returned", "step_scheduled"]
    assert run.orders["a"].dispatch == 3  # each has its own number, so that a zombie's end can be told
    assert run.lose_owner() == ["step_scheduled"]
    assert run.lose_owner() == ["incident_raised"]
    assert "went away 3 times" in str(run.run.waiting())
    assert run.retry() == ["incident_resolved", "step_scheduled"]
    assert "returned" not in run.run.active["a"]


def test_an_undoing_is_given_back_like_a_step() -> None:
    """It is at work in the same hands."""
    run = Pretended(flow(undoable("a"), here("b")))
    run.finish("a")
    run.refuse("b")
    for _ in range(DEPLOYMENTS):
        assert run.leave() == ["step_returned", "compensation_scheduled"]
    assert run.finish("a")[-1] == "run_compensated"


def test_what_is_given_back_late_changes_nothing() -> None:
    """It has ended, or another owner has begun it anew."""
    run = Pretended(flow(here("a"), here("b")))
    old = StepReturned("a", run.orders["a"].dispatch)
    run.lose_owner()
    assert run.happen(old) == []
    run.finish("a")
    assert run.happen(StepReturned("a", 2)) == []
