"""taskiq: COUNT messages of 512 bytes drained by one receiver, an ack each; no results are kept."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from loadgen import begin, end, load, until
from taskiq.api import run_receiver_task
from taskiq_aio_pika import AioPikaBroker
from taskiq_aio_pika.queue import Queue, QueueType

broker = AioPikaBroker(
    os.environ["AMQP_URL"], qos=200, task_queues=[Queue(name="taskiq-bench", type=QueueType.QUORUM)]
)
heard = 0


@broker.task
async def listen(id: str, text: str) -> None:
    global heard
    heard += 1


async def main(count: int) -> None:
    broker.is_worker_process = True
    await broker.startup()

    async def publish(number: int) -> None:
        await listen.kiq(f"e{number}", "x" * 300)  # its envelope makes 512 bytes of it

    began = time.perf_counter()
    await load(publish, 0, count, 100)
    published = count / (time.perf_counter() - began)
    begin()
    started = time.perf_counter()
    receiving = asyncio.create_task(run_receiver_task(broker, max_async_tasks=200))
    await until(lambda: heard >= count)
    end(count, time.perf_counter() - started, [], published_per_s=round(published))
    receiving.cancel()
    await asyncio.wait([receiving])
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
