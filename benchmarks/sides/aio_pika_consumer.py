"""Bare aio-pika: COUNT messages of 512 bytes drained, an ack each; published with confirms, 100 in flight."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import aio_pika
from loadgen import begin, end, load


async def main(count: int) -> None:
    connection = await aio_pika.connect(os.environ["AMQP_URL"])
    channel = await connection.channel()
    queue = await channel.declare_queue("bare", durable=True, arguments={"x-queue-type": "quorum"})

    async def publish(number: int) -> None:
        body = json.dumps({"id": f"e{number}", "text": "x" * 480}).encode()
        message = aio_pika.Message(
            body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=f"e{number}"
        )
        await channel.default_exchange.publish(message, "bare")

    began = time.perf_counter()
    await load(publish, 0, count, 100)
    published = count / (time.perf_counter() - began)
    consuming = await connection.channel()
    await consuming.set_qos(200)
    all_heard = asyncio.Event()
    heard = 0

    async def listen(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        nonlocal heard
        json.loads(message.body)
        await message.ack()
        heard += 1
        if heard == count:
            all_heard.set()

    begin()
    started = time.perf_counter()
    await (await consuming.get_queue("bare")).consume(listen)
    await all_heard.wait()
    end(count, time.perf_counter() - started, [], published_per_s=round(published))
    await queue.delete(if_empty=False, if_unused=False)
    await connection.close()


asyncio.run(main(int(sys.argv[1])))
