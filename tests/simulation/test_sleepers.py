"""Whoever sleeps beside a house wakes at its time: no leap goes beyond that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from antiphon.testing import Stage, TestHouse, in_virtual_time, simulate
from antiphon.testing.loop import VirtualLoop
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


@in_virtual_time
async def test_a_year_that_a_test_sleeps_itself_is_leapt_over() -> None:
    """With a house open, in which something ticks each second: as with the house's own verbs."""
    async with TestHouse(simulation) as house:
        run = await house.start("order", ORDER)
        began = house.now
        ticks = _count_of_looks(house)
        await asyncio.sleep(365 * 86400)
        assert house.now - began == pytest.approx(365 * 86400, abs=5)
        assert run.status == "compensated"
        (timed_out,) = [fact.at for fact in run.history if fact.type == "wait_timed_out"]
        assert timed_out - began == pytest.approx(3 * 86400, abs=5)
        assert len(ticks) < 1000


def _count_of_looks(house: TestHouse) -> list[float]:
    """Fills with the moments at which the house was asked whether it is idle."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    seen: list[float] = []
    inner = loop.wait_on

    def counting() -> bool:
        seen.append(loop.now)
        return inner()

    loop.wait_on = counting
    return seen


def test_a_test_that_waits_for_nothing_in_an_open_house_says_so() -> None:
    """It never ended: something always ticks in a house. The story is told."""

    @in_virtual_time
    async def hang() -> None:
        async with TestHouse(simulation) as house:
            await (await house.start("order", ORDER)).ended()
            await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="can't happen any more") as raised:
        hang()
    assert "run_compensated" in raised.value.__notes__[-1]


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
