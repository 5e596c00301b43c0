"""A step at a service that timed out is undone after it, never beside it."""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.wire import command_id
from reactors.service import CommandContext, Service
from store import tables
from tests.orchestrator.flows import ONCE, flow, remote_undoable
from tests.orchestrator.running import House


async def test_a_step_that_is_still_at_work_is_undone_when_it_has_ended(house: House) -> None:
    """Its attempt timed out; the compensation says what it undoes, and the service waits with it."""
    did: list[str] = []
    given_up = asyncio.Event()
    bank = Service("bank")

    @bank.handles("bank.hold.v1")
    async def hold(command: dict[str, Any], ctx: CommandContext) -> None:
        await given_up.wait()
        await asyncio.sleep(0.2)
        did.append("hold")

    @bank.handles("bank.unhold.v1")
    async def unhold(command: dict[str, Any], ctx: CommandContext) -> None:
        did.append("unhold")

    made = flow(remote_undoable("hold", timeout=0.3, retry=ONCE))
    await house.orchestrate(made)
    await house.serve(bank)
    run_id = (await house.start(made, "k1")).run_id
    await house.until_fact(run_id, "compensation_scheduled")
    given_up.set()
    await house.until(run_id, "compensated")
    assert did == ["hold", "unhold"]
    rows = await house.rows(tables.reactions, reactor="service.bank")
    assert {row["event_id"] for row in rows} == {
        command_id(run_id, "hold"), command_id(run_id, "hold", back=True),
    }  # fmt: skip
    assert {row["status"] for row in rows} == {"done"}


async def test_a_command_that_comes_after_its_compensation_is_refused(house: House) -> None:
    """The service was down for longer than the run waited, and the broker handed the command out last."""
    did: list[str] = []
    bank = Service("bank")

    @bank.handles("bank.hold.v1")
    async def hold(command: dict[str, Any], ctx: CommandContext) -> None:
        did.append("hold")

    @bank.handles("bank.unhold.v1")
    async def unhold(command: dict[str, Any], ctx: CommandContext) -> None:
        did.append("unhold")

    queue = bank.queue()
    await house.bus.declare(queue)
    made = flow(remote_undoable("hold", timeout=0.3, retry=ONCE))
    await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    subscription = await house.bus.subscribe(queue.name, prefetch=1)
    async with asyncio.timeout(20):
        (late,) = await subscription.receive(1)
        await house.until_fact(run_id, "compensation_scheduled")
        await house.serve(bank)  # it gets the compensation, and then what was held back here
        await house.until(run_id, "compensated")
        await subscription.release([late])
        await subscription.close()
        while (await house.bus.stats(queue.name)).ready or (await house.bus.stats(queue.name)).unsettled:
            await asyncio.sleep(0.02)
    assert did == ["unhold"]
