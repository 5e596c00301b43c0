"""Antiphon: one reactor drains COUNT events of 512 bytes: validated, inbox on, ``signed`` or ``unsigned``."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import orjson
from loadgen import begin, end

from antiphon import App, Settings, reacts_to
from antiphon.roles import declare, reacting
from antiphon.rooms import open_rooms
from bus.envelope import publication
from contracts.envelope import Event

TYPE = "bench.said.v1"
SCHEMA = {
    "type": "object",
    "required": ["id", "text"],
    "properties": {"id": {"type": "string"}, "text": {"type": "string", "maxLength": 600}},
}
heard = 0


@reacts_to(TYPE, concurrency=200)
async def listen(event: dict[str, Any], ctx: Any) -> None:
    global heard
    heard += 1


def said(number: int) -> Event:
    """One event of 512 bytes."""
    body = orjson.dumps({"id": f"e{number}", "text": "x" * 480})
    extensions = {"workspace": "default", "correlationid": f"e{number}"}
    return Event(f"e{number}", "/bench", TYPE, body, extensions=extensions)


async def main(mode: str, count: int) -> None:
    settings = Settings.load(log_level="warning", signing="strict" if mode == "signed" else "off")
    app = App("bench", reactors=[listen], external=[TYPE])
    app.registry.add(TYPE, SCHEMA)
    async with AsyncExitStack() as stack:
        rooms = await stack.enter_async_context(open_rooms(settings, "up", alone=True))
        await declare(app, rooms)
        began = time.perf_counter()
        for first in range(0, count, 1000):
            events = [said(number) for number in range(first, first + 1000)]
            await rooms.bus.publish(*(publication(event) for event in events), timeout=60.0)
        published = count / (time.perf_counter() - began)
        begin()
        started = time.perf_counter()
        async with reacting(app, rooms, reactors=app.reactors):
            while heard < count:
                await asyncio.sleep(0.005)
            while (await rooms.bus.stats("reactor.listen")).ready:
                await asyncio.sleep(0.005)
            took = time.perf_counter() - started
            end(count, took, [], published_per_s=round(published))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
