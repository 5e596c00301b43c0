"""Antiphon: COUNT runs of three steps, AT_ONCE at a time, local ones or (``bus``) at a service over the bus.

One orchestrator. ``apart`` and ``bus``: it, whoever asks, and the service have a process each. ``here``, and
always on the embedded store: all of them are one process, as ``antiphon up`` is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from loadgen import measure
from pydantic import BaseModel

from antiphon import App, Flow, Service, Settings, StepContext, step
from antiphon.loop import run as run_loop
from antiphon.roles import declare, orchestrating, reacting
from antiphon.rooms import Rooms, open_rooms
from orchestrator.client import Client


class Asked(BaseModel):
    """What a run is started with."""

    id: str


class Work(BaseModel):
    """A command."""

    id: str


async def first(ctx: StepContext) -> dict[str, Any]:
    return {"n": 1}


async def second(ctx: StepContext) -> dict[str, Any]:
    return {"n": ctx.results["first"]["n"] + 1}


async def third(ctx: StepContext) -> dict[str, Any]:
    return {"n": ctx.results["second"]["n"] + 1}


far = Service("far")


@far.handles("bench.work.v1")
async def work(data: Work, ctx: Any) -> dict[str, Any]:
    return {"n": 1}


def make_app(at_service: bool) -> App:
    """Three steps, here or there."""
    if at_service:
        steps = [
            step(name, at="far", command="bench.work.v1", data={"id": "$.input.id"})
            for name in ("first", "second", "third")
        ]
        flow = Flow("bench", version=1, key="id", input=Asked, steps=steps)
        app = App("bench", flows=[flow], services=[far])
        app.registry.add("bench.work.v1", Work.model_json_schema())
        return app
    return App(
        "bench",
        flows=[
            Flow("bench", version=1, key="id", input=Asked, steps=[step(first), step(second), step(third)])
        ],
    )


def asking(app: App, rooms: Rooms) -> Client:
    """A client in this process."""
    return Client(
        app.flows,
        bus=rooms.bus,
        database=rooms.database,
        live=rooms.live,
        check=app.registry.validate,
        incarnation=f"{rooms.incarnation}-bench",
        partitions=rooms.partitions,
    )


def resident_mb() -> float:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


async def run(client: Client, number: int) -> None:
    """One run, from asking to its end."""
    receipt = await client.start("default", "bench", {"id": f"k{number}"}, start_id=f"s{number}")
    if not await client.ended(receipt.run_id, 60.0):
        raise TimeoutError(f"run {receipt.run_id} has not ended in 60 s")


here = make_app(False)  # what ``antiphon up`` serves for the gateway's benchmarks


async def serve(app: App, rooms: Rooms, role: str) -> None:
    """One role of the house, as a process of its own, until it is told to stop."""
    async with AsyncExitStack() as stack:
        if role == "service":
            await stack.enter_async_context(reacting(app, rooms, services=app.services))
        else:
            await orchestrate(app, rooms, stack)
        print("ready", flush=True)
        await asyncio.Event().wait()


async def orchestrate(app: App, rooms: Rooms, stack: AsyncExitStack) -> None:
    """An orchestrator, once it owns every partition."""
    orchestrator = await stack.enter_async_context(orchestrating(app, rooms))
    while len(orchestrator.owned) < rooms.partitions:
        await asyncio.sleep(0.05)


async def beside(mode: str, role: str, stack: AsyncExitStack) -> None:
    """Start a role in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, mode, "0", "0", role, stdout=asyncio.subprocess.PIPE
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if line == b"ready\n":
            return
    raise SystemExit(f"the {role} did not start")


async def main(mode: str, count: int, at_once: int, role: str = "all") -> None:
    settings = Settings.load(log_level="warning")
    app = make_app(mode == "bus")
    embedded = settings.amqp_url is None
    async with AsyncExitStack() as stack:
        rooms = await stack.enter_async_context(open_rooms(settings, "up", alone=True))
        await declare(app, rooms)
        if role != "all":
            await serve(app, rooms, role)
        elif embedded or mode == "here":
            if mode == "bus":
                await stack.enter_async_context(reacting(app, rooms, services=app.services))
            await orchestrate(app, rooms, stack)
        else:
            for other in ("orchestrator", "service") if mode == "bus" else ("orchestrator",):
                await beside(mode, other, stack)
        client = asking(app, rooms)
        await client.start_listening()
        stack.push_async_callback(client.close)
        await measure(lambda number: run(client, number), count, at_once)


if __name__ == "__main__":
    mode, count, at_once, *role = sys.argv[1:]
    run_loop(main(mode, int(count), int(at_once), *role))
