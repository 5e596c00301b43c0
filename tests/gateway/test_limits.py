"""The rate limit: shares of a bucket that all gateways have in common."""

from __future__ import annotations

import asyncio

import pytest

from contracts.errors import LiveUnavailable
from gateway.limits import RateLimit
from gateway.problems import Problem
from store.live.memory import MemoryLive


class Slow(MemoryLive):
    """Answers in the loop's next turns, as a store over a network does, and counts the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.away = False

    async def allow(self, key: str, *, rate: float, burst: float) -> float:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise LiveUnavailable("away")
        return await super().allow(key, rate=rate, burst=burst)


async def refused(limit: RateLimit, requests: int) -> int:
    """How many of that many at once are refused."""
    answers = await asyncio.gather(*(limit.check("k") for _ in range(requests)), return_exceptions=True)
    assert all(answer is None or isinstance(answer, Problem) for answer in answers)
    return sum(answer is not None for answer in answers)


@pytest.mark.parametrize("requests", [1, 99, 100, 250, 1_000])
async def test_requests_that_come_at_once_use_no_more_than_there_are_of_them(requests: int) -> None:
    """Each of them finds no share at hand, and one share is asked for at a time."""
    live = Slow()
    limit = RateLimit(live, name="requests", rate=0.001, burst=10_000)
    assert await refused(limit, requests) == 0
    assert live.asked == -(-requests // 100)
    assert await refused(limit, 10_000 - requests) == 0
    assert await refused(limit, 10) == 10


async def test_who_waits_for_a_share_that_is_not_given_is_refused_with_it() -> None:
    """One question is enough to refuse them all."""
    live = Slow()
    limit = RateLimit(live, name="requests", rate=0.001, burst=3)
    assert await refused(limit, 8) == 5
    assert live.asked == 4
    assert await refused(limit, 100) == 100
    assert live.asked == 4  # it said when there is a share again


@pytest.mark.parametrize(("who", "asked"), [(3, 1), (0, 2)])
async def test_without_the_live_store_everybody_is_let_in(who: int, asked: int) -> None:
    """After one question; where the caller that asked gives up, the next one asks."""
    live = Slow()
    live.away = True
    limit = RateLimit(live, name="requests", rate=1, burst=1)
    waiting = [asyncio.create_task(limit.check("k")) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[who].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers.pop(who), asyncio.CancelledError)
    assert answers == [None] * 9
    assert live.asked == asked
