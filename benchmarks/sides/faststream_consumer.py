"""FastStream: COUNT messages of 512 bytes drained by one subscriber, an ack each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from faststream import AckPolicy
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from loadgen import begin, end, load

broker = RabbitBroker(os.environ["AMQP_URL"], logger=None)
queue = RabbitQueue("faststream", durable=True, queue_type=QueueType.QUORUM)
count = int(sys.argv[1])
heard = 0
all_heard = asyncio.Event()


async def listen(body: dict[str, Any]) -> None:
    global heard
    heard += 1
    if heard == count:
        all_heard.set()


async def main() -> None:
    await broker.connect()
    await broker.declare_queue(queue)

    async def publish(number: int) -> None:
        body = {"id": f"e{number}", "text": "x" * 480}
        await broker.publish(body, "faststream", persist=True, message_id=f"e{number}")

    began = time.perf_counter()
    await load(publish, 0, count, 100)
    published = count / (time.perf_counter() - began)
    broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR, channel=Channel(prefetch_count=200))(listen)
    begin()
    started = time.perf_counter()
    await broker.start()
    await all_heard.wait()
    end(count, time.perf_counter() - started, [], published_per_s=round(published))
    await broker.stop()


asyncio.run(main())
