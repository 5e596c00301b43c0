"""Whoever sleeps beside a house wakes at its time: no leap goes beyond that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from antiphon.testing import Stage, TestHouse, in_virtual_time, simulate
from tests.simulation.shop import simulation

ORDER = {"order": "order-1", "cents": 1250}
PAID = {"order": "order-1"}


@in_virtual_time
async def test_what_a_test_does_beside_a_leap_is_done_at_its_time() -> None:
    """Paid after an hour, by a task of the test's own, while it waits for an end that may take three days."""
    async with TestHouse(simulation) as house:
        run = await house.start("order", ORDER)
        began = house.now

        async def pay() -> None:
            await asyncio.sleep(3600)
            await house.publish("order.paid.v1", PAID)

        paying = asyncio.create_task(pay())
        await run.ended()
        await paying
        (received,) = [fact.at for fact in run.history if fact.type == "event_received"]
        assert received - began == pytest.approx(3600, abs=5)
        assert run.status == "completed"


@in_virtual_time
async def test_two_who_wait_for_ends_do_not_keep_each_other_from_leaping() -> None:
    """Each only looks on; what they wait for is three days away."""
    async with TestHouse(simulation) as house:
        runs = [await house.start("order", {**ORDER, "order": f"order-{number}"}) for number in (1, 2)]
        await asyncio.gather(*[run.ended() for run in runs])
        assert [run.status for run in runs] == ["compensated", "compensated"]


@pytest.mark.parametrize("faults", [(), ("delay", "crash")])
def test_a_script_may_sleep_as_it_likes(faults: tuple[str, ...]) -> None:
    """Also for hours in which nothing else is due, and without the stage's own sleep."""
    paid: list[float] = []

    async def script(stage: Stage, runs: int) -> None:
        await asyncio.sleep(3600)
        await stage.start("order", ORDER)
        await asyncio.sleep(7200)
        paid.append(stage.clock())
        await stage.publish("order.paid.v1", PAID)

    slow = replace(simulation, script=script)
    began: list[float] = []
    slow = replace(slow, prepare=lambda stage: began.append(stage.clock()))
    outcome = simulate(slow, seeds=[1, 2], faults=faults)  # type: ignore[arg-type]
    assert outcome.ok, outcome.story
    assert [end - start for start, end in zip(began, paid, strict=True)] == pytest.approx([10800] * 2, abs=9)
    assert outcome.runs == {"completed": 1}
