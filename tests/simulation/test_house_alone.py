"""A house for tests: of an app whose events are for somebody else, and with invariants that are wrong."""

from __future__ import annotations

import asyncio

import pytest

from antiphon import App
from antiphon.testing import Simulation, Stage, TestHouse, in_virtual_time
from tests.simulation.shop import app, simulation

ORDER = {"order": "order-1", "cents": 1250}
PAID = {"order": "order-1"}
ALONE = App(
    "shop",
    flows=app.flows,
    contracts=app.contract_folders,
    external=["order.paid.v1", "order.shipped.v1"],
)


@in_virtual_time
async def test_an_event_that_nobody_here_listens_to_is_among_what_was_published() -> None:
    """The reactors to it may be another team's: what the flow says is to be seen all the same."""
    async with TestHouse(ALONE) as house:
        run = await house.start("order", ORDER)
        await house.publish("order.paid.v1", PAID)
        await run.ended()
        assert house.published("order.shipped.v1") == [{"order": "order-1", "parcel": "parcel of order-1"}]
        assert "nobody listens" in house.story


@in_virtual_time
async def test_publishing_what_nobody_listens_to_comes_to_its_end() -> None:
    """No queue wants it, now or later: asking again and again would be for ever."""
    async with TestHouse(ALONE) as house, asyncio.timeout(60):
        await house.publish("order.shipped.v1", {"order": "order-1", "parcel": "parcel-1"})
        assert house.published("order.shipped.v1") == [{"order": "order-1", "parcel": "parcel-1"}]
    async with TestHouse(simulation) as house, asyncio.timeout(60):
        await house.publish("order.shipped.v1", {"order": "order-1", "parcel": "parcel-1"})
        assert "nobody listens" not in house.story


def test_an_invariant_that_raises_is_told_and_is_no_trouble_of_the_store() -> None:
    """As in a simulation: an assert in it is what somebody would write."""

    def nobody_orders(stage: Stage) -> list[str]:
        assert not stage.runs, "somebody ordered"
        return []

    @in_virtual_time
    async def ordering() -> None:
        async with TestHouse(Simulation(app, invariants=[nobody_orders])) as house, asyncio.timeout(60):
            await house.start("order", ORDER)
            await house.settle()

    with pytest.raises(AssertionError, match="raised AssertionError: somebody ordered") as raised:
        ordering()
    assert "run_started" in raised.value.__notes__[-1]
