"""Antiphon: one reactor hears COUNT events of 512 bytes: validated, inbox on, signed or ``unsigned``.

With ``hmac`` they are signed by the key that ``antiphon up`` makes for itself, with ``ed25519`` by one of
those that a house of several processes has. They wait in the queue before it begins, or, with a third
argument that is not 0, come at that many a second. With ``idempotent`` as the fourth, the handler says that
it is.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import orjson
from loadgen import begin, end, measure_paced, until

from antiphon import App, Settings, reacts_to
from antiphon.keys import DEVELOPMENT, ROLES, KeyMaker
from antiphon.loop import run
from antiphon.roles import declare, reacting
from antiphon.rooms import open_rooms
from bus.envelope import publication
from contracts.envelope import Event

TYPE = "bench.said.v1"
SCHEMA = {
    "type": "object",
    "required": ["id", "text"],
    "properties": {
        "id": {"type": "string"},
        "text": {"type": "string", "maxLength": 600},
        "at": {"type": "number"},
    },
}
heard = 0
seconds: list[float] = []


async def listen(event: dict[str, Any], ctx: Any) -> None:
    global heard
    heard += 1
    seconds.append(time.perf_counter() - event["at"])


def said(number: int) -> Event:
    """One event of 512 bytes."""
    body = orjson.dumps({"id": f"e{number}", "text": "x" * 450, "at": time.perf_counter()})
    extensions = {"workspace": "default", "correlationid": f"e{number}"}
    return Event(f"e{number}", "/bench", TYPE, body, extensions=extensions)


async def main(mode: str, count: int, per_s: float = 0.0, how: str = "") -> None:
    reactor = reacts_to(TYPE, concurrency=200, idempotent=how == "idempotent")(listen)
    settings = Settings.load(log_level="warning", signing="off" if mode == "unsigned" else "strict")
    if mode == "ed25519":  # it is there before the process would make one of its own
        KeyMaker(settings.keys_folder).ensure(DEVELOPMENT, ROLES[DEVELOPMENT](DEVELOPMENT))
    app = App("bench", reactors=[reactor], external=[TYPE])
    app.registry.add(TYPE, SCHEMA)
    async with AsyncExitStack() as stack:
        rooms = await stack.enter_async_context(open_rooms(settings, "up", alone=True))
        await declare(app, rooms)
        if per_s:
            async with reacting(app, rooms, reactors=app.reactors):
                await measure_paced(
                    lambda number: rooms.bus.publish(publication(said(number))), seconds, count, per_s
                )
            return
        began = time.perf_counter()
        for first in range(0, count, 1000):
            events = [said(number) for number in range(first, first + 1000)]
            await rooms.bus.publish(*(publication(event) for event in events), timeout=60.0)
        published = count / (time.perf_counter() - began)
        begin()
        started = time.perf_counter()
        async with reacting(app, rooms, reactors=app.reactors):
            await until(lambda: heard >= count)
            while (await rooms.bus.stats("reactor.listen")).ready:
                await asyncio.sleep(0.005)
            took = time.perf_counter() - started
            end(count, took, [], published_per_s=round(published))


if __name__ == "__main__":
    run(main(sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:4]), *sys.argv[4:]))
