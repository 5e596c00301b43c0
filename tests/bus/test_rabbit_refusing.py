"""A queue that refuses messages, and the others that are published with them."""

from __future__ import annotations

import asyncio

import aio_pika
import pytest

from antiphon.devservices import Rabbit
from bus.port import Message, Outgoing, Queue
from bus.rabbit import RabbitBus
from contracts.errors import PublishFailed, PublishRefused, TooLarge
from tests.bus.controlled import control
from tests.bus.helpers import PATIENCE, drained, ids, to, until


async def test_a_full_queue_that_refuses_costs_the_others_nothing(rabbit: Rabbit) -> None:
    """What is refused is refused alone, also while its channel is replaced; once there is room, it goes."""
    with rabbit.vhost() as vhost:
        bus = RabbitBus(vhost, publish_timeout=5.0)
        await bus.start()
        connection = await aio_pika.connect(vhost)
        try:
            channel = await connection.channel()
            full = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
            queue = await channel.declare_queue("full", durable=True, arguments=full)
            await bus.declare(Queue("q"))
            refused = []
            async with asyncio.timeout(PATIENCE):
                for n in range(15):
                    try:
                        await bus.publish(*to("full", f"f{n}"), *to("q", *(f"q{n}-{m}" for m in range(20))))
                    except PublishFailed as failed:
                        refused.append(failed.errors)
                    await asyncio.sleep(0.1)
            assert len(refused) > 5
            assert all(list(each) == [0] and "refused message 'f" in str(each[0]) for each in refused)
            assert {type(each[0]) for each in refused} == {PublishRefused}
            wanted = sorted(f"q{n}-{m}" for n in range(15) for m in range(20))
            assert sorted(await ids(await bus.subscribe("q", prefetch=500), 300)) == wanted
            await queue.purge()

            async def taken() -> bool:
                try:
                    await bus.publish(*to("full", "last"))
                except PublishFailed:
                    return False
                return True

            await until(taken)
        finally:
            await connection.close()
            await bus.close()


async def test_what_is_too_large_for_the_broker_costs_the_others_nothing(rabbit: Rabbit) -> None:
    """It closes the channel of all that are under way: they are sent again, and it is not."""
    await control(rabbit, "eval", "application:set_env(rabbit, max_message_size, 100000).")
    try:
        with rabbit.vhost() as vhost:
            bus = RabbitBus(vhost, publish_timeout=PATIENCE)
            await bus.start()
            await bus.declare(Queue("q"))
            large = Outgoing(Message("large", b"1" * 100_001), "q")
            with pytest.raises(PublishFailed) as caught:
                await bus.publish(*to("q", "a", "b"), large, *to("q", "c"))
            assert list(caught.value.errors) == [2]
            assert isinstance(caught.value.errors[2], TooLarge)
            assert "larger than" in str(caught.value.errors[2])
            seen = await drained(bus, "q")
            assert list(dict.fromkeys(seen)) == ["a", "b", "c"]
            await bus.close()
    finally:
        await control(rabbit, "eval", "application:set_env(rabbit, max_message_size, 134217728).")
