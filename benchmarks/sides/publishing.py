"""One persistent message of 512 bytes after the other, confirmed: COUNT of them, AT_ONCE in flight.

``antiphon`` is our bus, ``aio_pika`` its client bare; the loop is the same, and so is the quorum queue.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

import aio_pika
import uvloop
from loadgen import measure

from bus.port import Message, Outgoing, Queue
from bus.rabbit import RabbitBus

BODY = b"x" * 512


async def ours(url: str, run: Callable[[Callable[[int], Awaitable[object]]], Awaitable[None]]) -> None:
    bus = RabbitBus(url)
    await bus.start()
    await bus.declare(Queue("publishing-ours"))
    await run(
        lambda number: bus.publish(
            Outgoing(Message(f"e{number}", BODY, headers={"kind": "bench"}), "publishing-ours")
        )
    )
    await bus.close()


async def bare(url: str, run: Callable[[Callable[[int], Awaitable[object]]], Awaitable[None]]) -> None:
    connection = await aio_pika.connect(url)
    channel = await connection.channel(on_return_raises=True)
    await channel.declare_queue("publishing-bare", durable=True, arguments={"x-queue-type": "quorum"})

    async def publish(number: int) -> None:
        message = aio_pika.Message(
            BODY,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=f"e{number}",
            headers={"kind": "bench"},
        )
        await channel.default_exchange.publish(message, "publishing-bare", mandatory=True)

    await run(publish)
    await connection.close()


async def main(side: str, count: int, at_once: int) -> None:
    async def run(one: Callable[[int], Awaitable[object]]) -> None:
        await measure(one, count, at_once)

    await (ours if side == "antiphon" else bare)(os.environ["AMQP_URL"], run)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
