"""A store that has grown: ``seed ENDED WAITING``, then ``run PREFIX COUNT AT_ONCE`` as often as one likes.

Seeded runs are copies of one that ended here and of one that waits here for a signal, with their histories
and marks.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import antiphon_flows as flows
import asyncpg
from loadgen import measure

from antiphon import App, Flow, Settings, step, wait
from antiphon.loop import run as run_loop
from antiphon.roles import declare
from antiphon.rooms import open_rooms
from orchestrator.client import Client
from store.tables import history, marks, runs

_STEP = 100_000  # runs copied by one statement


def make_app() -> App:
    """Three steps; and one that waits."""
    steps = [step(flows.first), step(flows.second), step(flows.third)]
    return App(
        "bench",
        flows=[
            Flow("bench", version=1, key="id", input=flows.Asked, steps=steps),
            Flow("waits", version=1, key="id", input=flows.Asked, steps=[wait(signal="go")]),
        ],
    )


async def seed(client: Client, url: str, partitions: int, ended: int, waiting: int) -> None:
    """That many of each."""
    await flows.run(client, -1)
    asked = {"id": "model"}
    receipt = await client.start("default", "waits", asked, start_id="model")
    await asyncio.sleep(1.0)  # until it waits
    link = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await link.execute("SET synchronous_commit = off")  # of this connection, for these rows
        await copy(link, client.run_id("default", "bench", "k-1"), "ended", ended, partitions)
        await copy(link, receipt.run_id, "waiting", waiting, partitions)
        await link.execute("CHECKPOINT")
        await link.execute("VACUUM ANALYZE runs")
        await link.execute("VACUUM ANALYZE history")
        await link.execute("VACUUM ANALYZE marks")
    finally:
        await link.close()


async def copy(link: asyncpg.Connection, model: str, prefix: str, count: int, partitions: int) -> None:
    """Copies of a run, spread over the partitions and, one after the other, over the last hours."""
    own = {"id": f"'{prefix}-' || n", "key": f"'{prefix}-' || n", "run_id": f"'{prefix}-' || n"}
    # Each a millisecond older than the one that follows it, and all of them older than what is measured.
    own |= {name: f'r."{name}" - ({count} - n) / 1000.0' for name in ("created_at", "run_created_at")}
    own |= {"partition": f"n % {partitions}", "correlation": f"'{prefix}-' || n"}
    for table, by in ((runs, "id"), (history, "run_id"), (marks, "run_id")):
        names = [column.name for column in table.columns]
        values = ", ".join(own.get(name, f'r."{name}"') for name in names)
        quoted = ", ".join(f'"{name}"' for name in names)
        for first in range(1, count + 1, _STEP):
            last = min(first + _STEP - 1, count)
            await link.execute(
                f"INSERT INTO {table.name} ({quoted}) SELECT {values} FROM {table.name} r, "
                f"generate_series({first}, {last}) n WHERE r.{by} = $1",
                model,
                timeout=900,
            )


async def main(mode: str, *options: str) -> None:
    settings = Settings.load(log_level="warning")
    app = make_app()
    async with AsyncExitStack() as stack:
        rooms = await stack.enter_async_context(open_rooms(settings, "up", alone=True))
        await declare(app, rooms)
        await flows.orchestrate(app, rooms, stack)
        client = flows.asking(app, rooms)
        await client.start_listening()
        stack.push_async_callback(client.close)
        if mode == "seed":
            await seed(client, settings.database_url, rooms.partitions, *map(int, options))
            print('BEGIN\nEND {"seeded": 1}', flush=True)
            return
        prefix, count, at_once = options

        async def run(number: int) -> None:
            receipt = await client.start(
                "default", "bench", {"id": f"{prefix}-{number}"}, start_id=f"{prefix}-{number}"
            )
            if not await client.ended(receipt.run_id, 60.0):
                raise TimeoutError(f"run {receipt.run_id} has not ended in 60 s")

        await measure(run, int(count), int(at_once), resident_mb=flows.resident_mb)


if __name__ == "__main__":
    run_loop(main(*sys.argv[1:]))
