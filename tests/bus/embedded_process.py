"""A process that publishes and consumes on an embedded bus until it is killed; run by test_embedded_faults.

It prints ``published <id>`` after a confirm and ``took <id>`` before it acks. With ``poison`` it dies by its
own hand as soon as it holds that message.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from bus.embedded import EmbeddedBus
from bus.port import Message, Outgoing, Queue
from store.database import Database


async def main(path: Path, incarnation: str, poison: str) -> None:
    database = await Database.open(f"sqlite:///{path}")
    bus = EmbeddedBus(database, lock=path.with_name(path.name + ".lock"))
    await bus.start()
    await bus.declare(Queue("q"))
    subscription = await bus.subscribe("q", prefetch=20)

    async def publish(lane: int) -> None:
        for number in range(1_000_000):
            id_ = f"{incarnation}-{lane}-{number}"
            await bus.publish(Outgoing(Message(id_, b"x" * 200), "q"))
            print(f"published {id_}", flush=True)

    async def consume() -> None:
        while batch := await subscription.receive(10):
            for delivery in batch:
                if delivery.message.id == poison:
                    print(f"poisoned {delivery.deliveries}", flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)
                print(f"took {delivery.message.id}", flush=True)
            await subscription.ack(batch[:-1])
            await asyncio.sleep(0.001)
            await subscription.ack(batch[-1:])

    lanes = 0 if poison else 4
    await asyncio.gather(consume(), *(publish(lane) for lane in range(lanes)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
