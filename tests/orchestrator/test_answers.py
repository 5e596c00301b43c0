"""Answers over the live feed."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.testing import in_virtual_time
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


@in_virtual_time
async def test_a_house_under_load_is_asked_later() -> None:
    """How soon the journal is asked follows what answers took lately: who waits must not add to the load."""
    answers = Answers(MemoryLive(), "gateway-1")
    clock = asyncio.get_running_loop().time

    async def asked_after() -> float:
        began = clock()
        with answers.expect("run start") as answer:

            async def look() -> float:
                return clock() - began

            return float(await answer.within(30, look))

    assert await asked_after() == pytest.approx(0.5)
    for _ in range(20):
        with answers.expect("run start") as answer:
            await asyncio.sleep(0.5)
            answer.told.set_result("created")
    assert await asked_after() == pytest.approx(2.0, abs=0.2)
    for _ in range(40):
        with answers.expect("run start") as answer:
            answer.told.set_result("created")
    assert await asked_after() == pytest.approx(0.5)
