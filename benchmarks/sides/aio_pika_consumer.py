"""Bare aio-pika: COUNT messages of 512 bytes heard, an ack each; published with confirms, 100 in flight.

They wait in the queue before it begins, or, with a second argument, come at that many a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import aio_pika
import uvloop
from loadgen import begin, end, load, measure_paced


async def main(count: int, per_s: float) -> None:
    connection = await aio_pika.connect(os.environ["AMQP_URL"])
    channel = await connection.channel()
    queue = await channel.declare_queue("bare", durable=True, arguments={"x-queue-type": "quorum"})

    async def publish(number: int) -> None:
        body = json.dumps({"id": f"e{number}", "text": "x" * 450, "at": time.perf_counter()}).encode()
        message = aio_pika.Message(
            body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=f"e{number}"
        )
        await channel.default_exchange.publish(message, "bare")

    consuming = await connection.channel()
    await consuming.set_qos(200)
    all_heard = asyncio.Event()
    heard: list[float] = []

    async def listen(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        heard.append(time.perf_counter() - json.loads(message.body)["at"])
        await message.ack()
        if len(heard) == count:
            all_heard.set()

    if per_s:
        await (await consuming.get_queue("bare")).consume(listen)
        await measure_paced(publish, heard, count, per_s)
        await connection.close()
        return
    began = time.perf_counter()
    await load(publish, 0, count, 100)
    published = count / (time.perf_counter() - began)
    begin()
    started = time.perf_counter()
    await (await consuming.get_queue("bare")).consume(listen)
    await all_heard.wait()
    end(count, time.perf_counter() - started, [], published_per_s=round(published))
    await queue.delete(if_empty=False, if_unused=False)
    await connection.close()


uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
