"""Answers over the live feed."""

from __future__ import annotations

import asyncio

from orchestrator.answers import Answers
from store.live.memory import MemoryLive


async def test_it_stops_listening_when_the_live_store_is_closed() -> None:
    """No busy loop over a feed that ends at once: who still waits asks the journal."""
    live = MemoryLive()
    answers = Answers(live, "gateway-1")
    await answers.start()
    await asyncio.sleep(0)
    await live.close()
    assert answers._listener is not None
    async with asyncio.timeout(10):
        await asyncio.wait({answers._listener})
    with answers.expect("run start") as answer:

        async def look() -> str:
            return "created"

        assert await answer.within(5, look) == "created"
    await answers.close()
