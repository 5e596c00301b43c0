"""A broker that is not heard of any more, without a word: packets are dropped, or its machine is frozen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aio_pika
import pytest

from antiphon.devservices import Rabbit
from bus.port import Message, Outgoing, Queue
from bus.rabbit import RabbitBus
from contracts.errors import BusError, PublishFailed, Unroutable
from tests.bus.black_hole import BlackHole
from tests.bus.helpers import ids, message, to, until


@pytest.fixture
async def hole(rabbit: Rabbit) -> AsyncIterator[BlackHole]:
    with rabbit.vhost() as url:
        async with BlackHole.before(url) as hole:
            yield hole


@pytest.fixture
async def bus(hole: BlackHole) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(hole.url, heartbeat=1)
    await bus.start()
    await bus.declare(Queue("q"))
    yield bus
    hole.open.set()
    await bus.close()


async def test_a_publish_into_silence_fails_as_one_that_was_not_confirmed(
    hole: BlackHole, bus: RabbitBus
) -> None:
    """Nobody cancelled the task: that is what aiormq ends its waiting with."""
    hole.open.clear()
    with pytest.raises(PublishFailed):
        await bus.publish(*to("q", "a"), timeout=9.0)


async def test_a_question_into_silence_fails_as_a_question(hole: BlackHole, bus: RabbitBus) -> None:
    """Whoever asks again and again goes on doing so."""
    await bus.stats("q")
    asked: list[str] = []

    async def failed() -> bool:
        try:
            await bus.stats("q")
        except BusError as error:
            asked.append(str(error))
        return bool(asked)

    hole.open.clear()
    await until(failed)
    hole.open.set()

    async def answered() -> bool:
        try:
            return (await bus.stats("q")).ready == 0
        except BusError:
            return False

    await until(answered)


async def test_a_consumer_that_meets_silence_while_it_begins_anew_goes_on_after_it(
    hole: BlackHole, bus: RabbitBus
) -> None:
    """Its queue was deleted, and the answer to its new declaration never comes."""
    subscription = await bus.subscribe("q", prefetch=5)
    session = subscription._session
    assert session is not None

    async def swallow() -> None:
        await session.ended()
        hole.open.clear()

    swallowing = asyncio.create_task(swallow())
    straight = await aio_pika.connect(hole.broker)
    async with straight, straight.channel() as channel:
        await channel.queue_delete("q")
    await swallowing
    await asyncio.sleep(8)  # longer than the heartbeats allow
    hole.open.set()
    async with asyncio.timeout(30):
        while True:
            try:
                await bus.publish(*to("q", "a"))
                break
            except (PublishFailed, BusError):
                await asyncio.sleep(0.2)
    assert await ids(subscription, 1) == ["a"]


async def test_two_publishes_of_one_id_that_wait_for_the_socket_know_their_own_returns(
    hole: BlackHole, bus: RabbitBus
) -> None:
    """The broker takes nothing for a moment; then the one that nobody listens to must not look confirmed."""
    hole.open.clear()
    full = [Outgoing(Message(f"b{number}", b"x" * 4_000_000), "q") for number in range(4)]
    large = asyncio.create_task(bus.publish(*full))
    nowhere = asyncio.create_task(bus.publish(Outgoing(message("same"), "nowhere.at.all")))
    somewhere = asyncio.create_task(bus.publish(Outgoing(message("same"), "q")))
    await asyncio.sleep(0.5)
    hole.open.set()
    await large
    await somewhere
    with pytest.raises(PublishFailed) as failed:
        await nowhere
    assert isinstance(failed.value.errors[0], Unroutable)
