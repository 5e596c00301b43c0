"""One owner after another: what was at work with the first is at work once with the second."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from sqlalchemy import update

from bus.port import Bus, Message, Outgoing
from contracts.errors import BusUnavailable, PublishFailed
from orchestrator.client import Client
from orchestrator.context import StepContext
from orchestrator.nodes import step, wait
from orchestrator.onward import send_on
from orchestrator.partition import Partition
from orchestrator.runtime import Orchestrator
from orchestrator.wire import partition_of
from store import tables
from tests.orchestrator.flows import flow, here
from tests.orchestrator.running import PARTITIONS_MADE, WORKSPACE, House, until


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


class NoDelays:
    """A bus that takes no delayed message before it has refused some ``times``."""

    def __init__(self, bus: Any, times: int) -> None:
        self._bus = bus
        self.left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, *outgoing: Outgoing, **more: Any) -> None:
        if self.left and any(one.delay for one in outgoing):
            self.left -= 1
            raise PublishFailed(dict.fromkeys(range(len(outgoing)), BusUnavailable("no confirm")))
        await self._bus.publish(*outgoing, **more)


async def test_a_bus_that_is_away_for_a_while_parks_no_innocent_step(house: House) -> None:
    """What came with the take-over can't be sent on, more often than a step may be lost: that is no loss."""
    began: list[int] = []
    may_end = asyncio.Event()

    async def long(ctx: StepContext) -> None:
        began.append(ctx.attempt)
        await may_end.wait()

    made, newer = flow(step(long)), flow(here("x"), name="newer")
    first = await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    await house.until_fact(run_id, "step_scheduled")
    await first.stop(grace=0.0)  # gives nothing back
    keys = {Client.run_id(WORKSPACE, "newer", f"n{number}"): f"n{number}" for number in range(1000)}
    home = partition_of(run_id, PARTITIONS_MADE)
    key = next(key for id, key in keys.items() if partition_of(id, PARTITIONS_MADE) == home)
    client = await house.client(newer)
    await client.start(WORKSPACE, "newer", {"id": key}, start_id="n", wait=0.0)
    bus = NoDelays(house.bus, times=7)
    await house.orchestrate(made, bus=bus)

    async def back() -> bool:
        return not bus.left

    await until(back, lambda: "the bus to have refused enough")
    may_end.set()
    await house.until(run_id, "completed")
    assert (await house.types(run_id)).count("step_scheduled") == len(began) == 2


async def test_only_what_the_bus_did_not_take_is_sent_on_again() -> None:
    """The rest was confirmed."""
    sent: list[list[str]] = []

    class Choosy:
        async def publish(self, *outgoing: Outgoing) -> None:
            sent.append([one.message.id for one in outgoing])
            if len(sent) == 1:
                raise PublishFailed({2: BusUnavailable("no confirm"), 0: BusUnavailable("no confirm")})
            if len(sent) == 2:
                raise BusUnavailable("gone")

    posts = [Outgoing(Message(f"m{number}", b""), "q") for number in range(3)]
    await send_on(cast("Bus", Choosy()), posts, 0)
    assert sent == [["m0", "m1", "m2"], ["m0", "m2"], ["m0", "m2"]]


@pytest.mark.parametrize("task", ["_receive", "_work"])
async def test_a_partition_that_fails_is_taken_anew(
    house: House, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """A bug that ends what receives, or what works, does not leave it owned and deaf."""
    whole = getattr(Partition, task)
    failed: list[int] = []

    async def failing(self: Partition, *given: Any) -> None:
        if not failed:
            failed.append(self.epoch)
            raise RuntimeError("a bug")
        await whole(self, *given)

    async def nothing(ctx: StepContext) -> None:
        pass

    monkeypatch.setattr(Partition, task, failing)
    made = flow(step(nothing))
    orchestrator = await house.orchestrate(made)
    keys = {
        partition_of(Client.run_id(WORKSPACE, made.name, key), PARTITIONS_MADE): key
        for key in map(str, range(40))
    }
    assert len(keys) == PARTITIONS_MADE
    for key in keys.values():
        await house.until((await house.start(made, key)).run_id, "completed")
    assert sorted(orchestrator.owned.values())[-1] > failed[0]


async def test_who_leaves_gives_back_what_it_was_given_and_never_heard_of(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes next must not wait for leases of a process that has stopped in good order."""
    monkeypatch.setattr(Orchestrator, "_take_round", lambda self, round: None)  # no answer comes in time

    async def owners() -> set[str | None]:
        return {row["owner"] for row in await house.rows(tables.partitions)}

    async def leased() -> bool:
        return None not in await owners()

    await house.orchestrate(flow(here("a")))
    await until(leased, lambda: "it to take all partitions")
    await house.stop_first()
    assert await owners() == {None}
