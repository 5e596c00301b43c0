"""A reactor process of its own, to be killed in the middle: ``worker.py BUS DATABASE``.

Says ``handling RIDE`` on standard output when it begins with a message.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import structlog
from sqlalchemy import Connection, text

from reactors.context import ReactionContext
from reactors.reactor import reacts_to
from reactors.runtime import ReactorRuntime
from store.database import Database
from store.live import MemoryLive
from tests.reactors.world import BOOKED, TOLD, make_registry, open_bus


@reacts_to(BOOKED, transactional=True, concurrency=8)
async def ledger(event: dict[str, Any], ctx: ReactionContext) -> None:
    """Writes each ride into the ledger; the table takes a ride twice, so that tests can see it."""
    print(f"handling {event['ride_id']}", flush=True)
    await asyncio.sleep(0.05)

    def write(conn: Connection) -> None:
        conn.execute(text("INSERT INTO ledger (ride) VALUES (:ride)"), {"ride": event["ride_id"]})

    ctx.execute(write)


@reacts_to(TOLD, idempotent=True)
async def bomb(event: dict[str, Any]) -> None:
    """Takes its worker down; with the ride ``slow``, after it has been at work for long."""
    await asyncio.sleep(2 if event["ride_id"] == "slow" else 0)
    os.kill(os.getpid(), signal.SIGKILL)


async def main(bus_at: str, database_url: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    database = await Database.open(database_url)
    runtime = ReactorRuntime(
        [ledger, bomb],
        [],
        bus=await open_bus(bus_at),
        database=database,
        live=MemoryLive(),
        registry=make_registry(),
        source="/test",
        incarnation=f"worker-{os.getpid()}",
        database_url=database_url,
    )
    await runtime.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
