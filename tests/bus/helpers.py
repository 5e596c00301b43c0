"""What the tests of the bus share: messages, and receiving with patience."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bus.port import DIRECT, Bus, Delivery, Message, Outgoing, Subscription

PATIENCE = 20.0  # seconds until a test gives up; nothing is asserted about speed


def to(queue: str, *ids: str, delay: float = 0.0, mandatory: bool = True) -> list[Outgoing]:
    """Messages for a queue, whose body says their id."""
    return [Outgoing(message(id_), queue, DIRECT, delay, mandatory) for id_ in ids]


def message(id_: str) -> Message:
    return Message(id_, f'{{"id":"{id_}"}}'.encode(), headers={"kind": "test", "n": 7})


async def gather(subscription: Subscription, count: int, *, ack: bool = True) -> list[Delivery]:
    """Receive until ``count`` deliveries are there."""
    got: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(got) < count:
            batch = await subscription.receive(count - len(got))
            assert batch, "the subscription was closed"
            got += batch
            if ack:
                await subscription.ack(batch)
    return got


async def ids(subscription: Subscription, count: int) -> list[str]:
    return [delivery.message.id for delivery in await gather(subscription, count)]


async def nothing_more(subscription: Subscription, wait: float = 0.2) -> bool:
    """Whether nothing arrives for a while."""
    try:
        async with asyncio.timeout(wait):
            await subscription.receive(1)
    except TimeoutError:
        return True
    return False


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


async def drained(bus: Bus, queue: str) -> list[str]:
    """The ids of everything in a queue: all that comes before a message put at its end."""
    await bus.publish(*to(queue, "the end"))
    subscription = await bus.subscribe(queue, prefetch=100)
    found: list[str] = []
    try:
        while "the end" not in found:
            found += await ids(subscription, 1)
    finally:
        await subscription.close()
    assert found.pop() == "the end"
    return found
