"""A store that has grown: ``seed ENDED WAITING``, then ``run PREFIX COUNT AT_ONCE`` as often as one likes.

Seeded runs are copies of one that ended here and of one that waits here for a signal, with their histories
and marks, and ids as their keys would have given them: hashes, so that new runs lie among them.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import antiphon_flows as flows
from loadgen import measure
from seeding import copies, filling

from antiphon import App, Flow, Settings, step, wait
from antiphon.loop import run as run_loop
from antiphon.roles import declare
from antiphon.rooms import open_rooms
from orchestrator.client import Client


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


async def models(client: Client) -> tuple[str, str]:
    """A run that has ended and one that waits; their ids."""
    await flows.run(client, -1)
    receipt = await client.start("default", "waits", {"id": "model"}, start_id="model")
    await asyncio.sleep(1.0)  # until it waits
    return client.run_id("default", "bench", "k-1"), receipt.run_id


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
        if mode == "run":
            await load(client, *options)
        else:
            ended, waiting = await models(client)
    if mode == "seed":
        # With the house closed: on SQLite there is one who writes.
        how_many = [int(option) for option in options]
        async with filling(str(settings.database_url)) as filler:
            await copies(filler, ended, "bench", "ended", how_many[0], rooms.partitions)
            await copies(filler, waiting, "waits", "waiting", how_many[1], rooms.partitions)
        print('BEGIN\nEND {"seeded": 1}', flush=True)


async def load(client: Client, prefix: str, count: str, at_once: str) -> None:
    """Runs under keys that begin so."""

    async def run(number: int) -> None:
        receipt = await client.start(
            "default", "bench", {"id": f"{prefix}-{number}"}, start_id=f"{prefix}-{number}"
        )
        if not await client.ended(receipt.run_id, 60.0):
            raise TimeoutError(f"run {receipt.run_id} has not ended in 60 s")

    await measure(run, int(count), int(at_once), resident_mb=flows.resident_mb)


if __name__ == "__main__":
    run_loop(main(*sys.argv[1:]))
