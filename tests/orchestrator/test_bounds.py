"""Work in hand is bounded: what can't be begun stays with the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from bus.port import Bus, Message, Outgoing
from contracts.errors import BusUnavailable, PublishFailed
from orchestrator.context import StepContext
from orchestrator.journal import Journal, Post
from orchestrator.nodes import step
from orchestrator.relay import Relay
from orchestrator.room import Room
from orchestrator.wire import partition_queue
from store import tables
from tests.orchestrator.flows import flow
from tests.orchestrator.running import PARTITIONS_MADE, WORKSPACE, House, until

RUNS = 60
MOST_AT_ONCE = 2
PREFETCH = 2


@pytest.mark.parametrize("together", [False, True])
async def test_more_steps_than_can_run_wait_in_the_queue(house: House, together: bool) -> None:
    """Slow steps and many starts: memory holds a few, the queues the rest, and all end.

    Starts of one moment share messages: what is in hand of those is begun no sooner.
    """
    go = asyncio.Event()
    begun: list[str] = []

    async def slow(ctx: StepContext) -> None:
        begun.append(ctx.run_key)
        await go.wait()

    made = flow(step(slow))
    orchestrator = await house.orchestrate(made, steps_at_once=MOST_AT_ONCE, prefetch=PREFETCH)
    client = await house.client(made)
    asking = [client.start(WORKSPACE, "f", {"id": f"k{n}"}, start_id=f"s{n}", wait=0) for n in range(RUNS)]
    receipts = await asyncio.gather(*asking) if together else [await one for one in asking]
    # Full, and what was on its way to each partition by then.
    most = 2 * MOST_AT_ONCE + 2 * PREFETCH * PARTITIONS_MADE

    async def standing() -> bool:
        return len(begun) == MOST_AT_ONCE and orchestrator._executor.at_work >= 2 * MOST_AT_ONCE

    await until(standing, lambda: f"{len(begun)} steps at work")
    await asyncio.sleep(0.5)  # more would come now
    assert orchestrator._executor.at_work <= most
    assert len(await house.rows(tables.runs)) <= most
    queues = [await house.bus.stats(partition_queue(n).name) for n in range(PARTITIONS_MADE)]
    assert together or sum(stats.ready for stats in queues) >= RUNS - most - PREFETCH * PARTITIONS_MADE
    go.set()
    for receipt in receipts:
        await house.until(receipt.run_id, "completed")
    assert sorted(begun) == sorted(f"k{n}" for n in range(RUNS))


async def test_an_outbox_that_the_broker_does_not_take() -> None:
    """The partition waits for it; and goes on when a good part of it is out."""
    away = True

    class Broker:
        async def publish(self, *outgoing: Outgoing) -> None:
            if away:
                raise PublishFailed(dict.fromkeys(range(len(outgoing)), BusUnavailable("not there")))

    done: list[int] = []

    def settled(positions: Sequence[int]) -> None:
        done.extend(positions)

    relay = Relay(cast("Bus", Broker()), cast("Journal", None), 0, settled)
    relay.put([Post(n, Outgoing(Message(f"m{n}", b""), "q")) for n in range(5_000)])
    relay.start()
    room = asyncio.create_task(relay.room())
    await asyncio.wait([room], timeout=0.3)
    assert not room.done()
    away = False
    async with asyncio.timeout(20):
        await room
    assert done
    assert done == list(range(len(done)))
    await relay.stop(0.0)


async def test_room_opens_again_when_some_have_gone() -> None:
    room = Room(10)
    waiting: list[Any] = []

    async def enter() -> None:
        await room.wait()
        waiting.append(True)

    room.note(10)
    task = asyncio.create_task(enter())
    room.note(8)
    await asyncio.sleep(0)
    assert not waiting
    room.note(7)
    await task
    assert waiting
