"""A call past the pivot whose child has failed: the child is made again, and the call goes on with it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from contracts.errors import Terminal
from orchestrator.context import StepContext
from orchestrator.flow import Flow
from orchestrator.nodes import call, step, wait
from orchestrator.outcomes import rerun_id
from orchestrator.proofs import Proofs
from store import tables
from tests.orchestrator.flows import flow, here
from tests.orchestrator.running import WORKSPACE, House, until


class Shipment:
    """A child that fails until it is told not to, and then waits for an event; and its parent."""

    def __init__(self) -> None:
        self.fails = True
        self.child = flow(
            step(self._pack, name="pack"),
            wait("x.done.v1", by="id", name="shipped"),
            name="ship",
            result={"packed": "$.pack.by"},
        )
        self.parent = flow(
            here("pay", pivot=True),
            call("ship", {"id": "$.input.id"}, name="ship"),
            result={"packed": "$.ship.packed"},
        )
        self.flows: tuple[Flow, Flow] = (self.parent, self.child)

    async def _pack(self, ctx: StepContext) -> dict[str, Any]:
        if self.fails:
            raise Terminal("no boxes")
        return {"by": ctx.run_id}


class Stuck:
    """The parent stands at its call, whose child has failed."""

    def __init__(self, house: House, shipment: Shipment, parent: str, child: str) -> None:
        self.house = house
        self.shipment = shipment
        self.parent = parent
        self.child = child

    async def retry(self, run_id: str) -> str:
        client = await self.house.client(*self.shipment.flows)
        return await client.retry(WORKSPACE, run_id, reason="mended", actor="ann")

    async def made_again(self) -> str:
        """The child once more, as far as its wait."""
        self.shipment.fails = False
        again = await self.retry(self.child)
        assert again == rerun_id(self.child, 1)
        await self.house.until_fact(again, "wait_started")
        return again

    async def shipped(self, again: str) -> None:
        """What the child waits for, and what comes of it."""
        await self.house.publish("x.done.v1", "k1")
        await self.house.until(again, "completed")
        await self.house.until(self.parent, "completed")
        (row,) = await self.house.rows(tables.runs, id=self.parent)
        assert again in row["result"]

    async def incidents(self, count: int) -> bool:
        return (await self.house.types(self.parent)).count("incident_raised") == count


@pytest.fixture
async def stuck(house: House) -> Stuck:
    shipment = Shipment()
    await house.orchestrate(*shipment.flows)
    await house.client(*shipment.flows)
    parent = (await house.start(shipment.parent, "k1")).run_id
    await house.until(parent, "stuck")
    (row,) = await house.rows(tables.runs, flow="ship")
    return Stuck(house, shipment, parent, row["id"])


async def test_the_parent_goes_on_when_its_child_made_again_is_through(stuck: Stuck) -> None:
    """Nobody has to tell the parent; its history says what it went on with."""
    await stuck.shipped(await stuck.made_again())
    types = await stuck.house.types(stuck.parent)
    assert types[-4:] == ["incident_raised", "incident_resolved", "child_ended", "run_completed"]


async def test_a_child_that_fails_again_leaves_its_parent_where_it_is(stuck: Stuck) -> None:
    """One incident, not one for each try; and the one after that counts."""
    first = await stuck.retry(stuck.child)
    await stuck.house.until(first, "failed")
    stuck.shipment.fails = False
    second = await stuck.retry(first)
    await stuck.house.until_fact(second, "wait_started")
    assert await stuck.incidents(1)
    await stuck.shipped(second)


async def test_a_parent_that_is_let_on_waits_for_the_newest(stuck: Stuck) -> None:
    """In vain where there is none; where there is, its wait is in order, and nothing is asked twice."""
    await stuck.retry(stuck.parent)
    await until(partial(stuck.incidents, 2), lambda: "the child's answer of before")
    again = await stuck.made_again()
    await stuck.retry(stuck.parent)

    async def let_on() -> bool:
        return (await stuck.house.types(stuck.parent))[-1] == "child_started"

    await until(let_on, lambda: "the call to wait again")
    (row,) = await stuck.house.rows(tables.runs, id=stuck.parent)
    proofs = Proofs(stuck.house.database)
    page, _ = await proofs.page(row["partition"], after=None, before=row["updated_at"] + 9.0, most=9)
    (quiet,) = [each for each in page if each.id == stuck.parent]
    assert quiet.children[stuck.child].ended_at is None
    await stuck.shipped(again)
    assert await stuck.incidents(2)
