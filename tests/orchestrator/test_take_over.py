"""One owner after another: what was at work with the first is at work once with the second."""

from __future__ import annotations

import asyncio

from sqlalchemy import update

from orchestrator.context import StepContext
from orchestrator.nodes import step, wait
from store import tables
from tests.orchestrator.flows import flow
from tests.orchestrator.running import House, until


async def test_a_fenced_owner_stops_what_it_has_at_work(house: House) -> None:
    """Also of the run with which it was fenced: the same process begins that anew, and does it once."""
    at_work: list[int] = []
    others: list[int] = []  # how many were at work when one began

    async def slow(ctx: StepContext) -> None:
        others.append(len(at_work))
        at_work.append(1)
        try:
            await gate.wait()
        finally:
            at_work.pop()

    gate = asyncio.Event()
    made = flow(step(slow), wait("x.done.v1", by="id"))
    await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    await house.until_fact(run_id, "step_scheduled")
    columns = tables.partitions.c
    # Another one has taken everything, and died.
    lost = update(tables.partitions).values(owner=None, lease_until=0.0, epoch=columns.epoch + 1)
    await house.database.write(lambda connection: connection.execute(lost) and None)
    await house.publish("x.done.v1", "k1")

    async def again() -> bool:
        return len(others) == 2

    await until(again, lambda: "the step to begin anew")
    gate.set()
    await house.until(run_id, "completed")
    assert others == [0, 0]
