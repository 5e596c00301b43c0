"""Telling feeds in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson
import pytest
import structlog
from structlog.stdlib import BoundLogger
from structlog.testing import LogCapture

from antiphon.testing import in_virtual_time
from contracts.errors import LiveUnavailable
from store.live import teller as telling
from store.live.memory import MemoryLive
from store.live.port import Live
from store.live.teller import Teller


class Counting(MemoryLive):
    """Keeps the sizes of its appends; away while it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.away = False

    async def append(self, feed: str, *entries: bytes, keep: int = 10_000) -> list[str]:
        if self.away:
            raise LiveUnavailable("away")
        self.sizes.append(len(entries))
        return await super().append(feed, *entries, keep=keep)


async def told(live: Live, feed: str) -> Sequence[object]:
    return [orjson.loads(entry) for _, entry in await live.read(feed, None)]


async def test_it_tells_everything_in_order(live: Live, name: str) -> None:
    """Entries of each feed come in the order in which they were told."""
    teller = Teller(live, gather=0.001)
    for number in range(300):
        teller.tell(f"{name}/{number % 2}", {"n": number})
        if number % 50 == 0:
            await asyncio.sleep(0.002)
    await teller.flush()
    for half in (0, 1):
        seen: list[object] = []
        after = None
        while page := await live.read(f"{name}/{half}", after):
            seen += [orjson.loads(entry)["n"] for _, entry in page]
            after = page[-1][0]
        assert seen == list(range(half, 300, 2))


async def test_the_first_goes_at_once_and_what_follows_gathers() -> None:
    """After a quiet moment nothing waits; entries that come close together share an append."""
    live = Counting()
    teller = Teller(live, gather=0.2)
    teller.tell("f", {"n": 0})
    await asyncio.sleep(0.02)
    assert live.sizes == [1]
    for number in range(1, 10):
        teller.tell("f", {"n": number})
        await asyncio.sleep(0.001)
    await teller.flush()
    assert live.sizes == [1, 9]


@in_virtual_time
async def test_little_is_told_sooner_than_much() -> None:
    """Whoever waits alone does not wait for others who might come."""
    clock = asyncio.get_running_loop().time

    async def until_the_next(first: int) -> float:
        live = Counting()
        teller = Teller(live, gather=0.3)
        for _ in range(first):
            teller.tell("f", {})
        began = clock()
        await asyncio.sleep(0.01)
        teller.tell("f", {})
        await teller.flush()
        return clock() - began

    assert await until_the_next(1) == pytest.approx(0.1, abs=0.001)
    assert await until_the_next(2) == pytest.approx(0.2, abs=0.001)
    assert await until_the_next(50) == pytest.approx(0.3, abs=0.001)


@in_virtual_time
async def test_what_is_told_steadily_gathers_until_an_append_is_worth_it() -> None:
    """Some fifty entries are one append, whether they take a while or come all the time, within bounds."""

    async def last_sizes(per_second: int) -> list[int]:
        live = Counting()
        teller = Teller(live, gather=0.02, patience=0.1)
        for _ in range(2 * per_second):
            teller.tell("f", {})
            await asyncio.sleep(1 / per_second)
        await teller.flush()
        return live.sizes[-6:-1]

    assert await last_sizes(10) == [1] * 5
    assert await last_sizes(200) == pytest.approx([20] * 5, abs=1)
    assert await last_sizes(1_000) == pytest.approx([50] * 5, abs=1)
    assert await last_sizes(10_000) == pytest.approx([200] * 5, abs=2)


async def test_entries_are_dropped_while_the_store_is_away_and_that_is_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is told later is told again, and nobody who tells notices anything."""
    logs = LogCapture()
    monkeypatch.setattr(
        telling, "log", structlog.wrap_logger(None, processors=[logs], wrapper_class=BoundLogger)
    )
    live = Counting()
    teller = Teller(live)
    live.away = True
    for number in range(3):
        teller.tell("f", {"n": number})
        await teller.flush()
    live.away = False
    teller.tell("f", {"n": 3})
    await teller.flush()
    assert [entry["event"] for entry in logs.entries] == ["live_feed_away", "live_feed_back"]
    assert await told(live, "f") == [{"n": 3}]


async def test_no_more_than_so_many_wait() -> None:
    """Beyond that the oldest are dropped, so that a store that hangs costs no memory."""
    live = Counting()
    teller = Teller(live, most=5)
    for number in range(12):
        teller.tell("f", {"n": number})
    await teller.flush()
    assert await told(live, "f") == [{"n": number} for number in range(7, 12)]
