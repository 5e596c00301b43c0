"""FastStream: COUNT messages of 512 bytes heard by one subscriber, an ack each.

They wait in the queue before it begins, or, with a second argument, come at that many a second.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import uvloop
from faststream import AckPolicy
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from loadgen import begin, end, load, measure_paced

broker = RabbitBroker(os.environ["AMQP_URL"], logger=None)
queue = RabbitQueue("faststream", durable=True, queue_type=QueueType.QUORUM)
count = int(sys.argv[1])
per_s = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
heard: list[float] = []
all_heard = asyncio.Event()


async def listen(body: dict[str, Any]) -> None:
    heard.append(time.perf_counter() - body["at"])
    if len(heard) == count:
        all_heard.set()


async def main() -> None:
    await broker.connect()
    await broker.declare_queue(queue)

    async def publish(number: int) -> None:
        body = {"id": f"e{number}", "text": "x" * 450, "at": time.perf_counter()}
        await broker.publish(body, "faststream", persist=True, message_id=f"e{number}")

    subscriber = broker.subscriber(
        queue, ack_policy=AckPolicy.NACK_ON_ERROR, channel=Channel(prefetch_count=200)
    )
    subscriber(listen)
    if per_s:
        await broker.start()
        await measure_paced(publish, heard, count, per_s)
        await broker.stop()
        return
    began = time.perf_counter()
    await load(publish, 0, count, 100)
    published = count / (time.perf_counter() - began)
    begin()
    started = time.perf_counter()
    await broker.start()
    await all_heard.wait()
    end(count, time.perf_counter() - started, [], published_per_s=round(published))
    await broker.stop()


uvloop.run(main())
