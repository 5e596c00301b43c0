"""Answers over the live feed."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from antiphon.testing import in_virtual_time
from orchestrator.announcer import answers_feed
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


async def test_a_run_that_ended_before_anybody_waited_has_ended() -> None:
    """Start and end are often told in one breath, and who started it has not begun to wait for the end."""
    live = MemoryLive()
    answers = Answers(live, "gateway-1")
    await answers.start()
    news: list[dict[str, str]] = [{"ended": f"run-{n}", "status": "completed"} for n in range(5_000)]
    await asyncio.sleep(0.01)
    with answers.expect("run-4999") as waiting:
        await live.append(answers_feed("gateway-1"), *map(orjson.dumps, news), keep=10_000)
        async with asyncio.timeout(10):
            await waiting.told

    async def look() -> None:
        raise AssertionError("the journal need not be asked")

    with answers.expect("run-4998") as answer:
        assert await answer.within(10, look) is True
    with answers.expect("run-0") as forgotten:
        assert not forgotten.told.done()
    await answers.close()
