"""An orchestrator of its own, to be killed, stopped and continued: ``NAME AMQP DATABASE REDIS POISON LEASE``.

Says ``ready`` on standard output when it owns partitions. POISON is a file: while it exists, the step
``poison`` takes this process with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from bus.rabbit import RabbitBus
from orchestrator.context import StepContext
from orchestrator.flow import Flow
from orchestrator.nodes import Node, step
from orchestrator.runtime import Orchestrator
from store.database import Database
from store.live import open_live
from tests.orchestrator.flows import flow
from tests.orchestrator.running import PARTITIONS_MADE, make_registry

TRAP = Path(sys.argv[5] if len(sys.argv) > 5 else "/nonexistent")


async def brief(ctx: StepContext) -> dict[str, str]:
    """A little work."""
    await asyncio.sleep(0.02)
    return {"by": ctx.node}


async def poison(ctx: StepContext) -> None:
    """What no process survives."""
    if TRAP.exists():
        await asyncio.sleep(0.3)  # long enough for others to be at work beside it
        os._exit(17)


async def long(ctx: StepContext) -> None:
    """What is still at work when its neighbour kills the process."""
    await asyncio.sleep(2.0)


def flows() -> tuple[Flow, Flow, Flow]:
    """Ten steps, one that kills, and one that takes its time."""
    steps: list[Node] = [step(brief, name=f"n{number}") for number in range(10)]
    return flow(*steps, name="ten"), flow(step(poison), name="poisoned"), flow(step(long), name="long")


async def main(name: str, amqp: str, database_url: str, redis: str, lease: float) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    database = await Database.open(database_url)
    bus = RabbitBus(amqp)
    await bus.start()
    live = open_live(redis)
    orchestrator = Orchestrator(
        flows(),
        bus=bus,
        database=database,
        live=live,
        check=make_registry().validate,
        read=make_registry().validate_read,
        incarnation=f"{name}-{os.getpid()}",
        name=name,
        partitions=PARTITIONS_MADE,
        lease=lease,
        renew=lease / 6,
        open_own=lambda: Database.open(database_url, pool=1),
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await orchestrator.start()
    while not orchestrator.owned and not ended.is_set():
        await asyncio.sleep(0.05)
    print("ready", flush=True)
    await ended.wait()
    await orchestrator.stop(grace=5.0)
    await bus.close()
    await live.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5], lease=float(sys.argv[6])))
