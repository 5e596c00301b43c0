"""The load of every side: so many at a time, each one's seconds kept. No import of any engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor


def begin() -> None:
    """The warm-up is over."""
    print("BEGIN", flush=True)
    time.sleep(0.1)  # the reader takes its CPU times meanwhile


def end(count: int, seconds: float, latencies: list[float], **more: object) -> None:
    """Tell what was measured: each per second, p50 and p99 in milliseconds."""
    more = {name: told() if callable(told) else told for name, told in more.items()}
    found = {"count": count, "per_s": round(count / seconds, 1), **percentiles(latencies), **more}
    print("END " + json.dumps(found), flush=True)


def percentiles(latencies: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(latencies)
    if not ordered:
        return {}
    at = {"p50_ms": 0.5, "p99_ms": 0.99}
    return {name: round(ordered[int(share * (len(ordered) - 1))] * 1000, 2) for name, share in at.items()}


async def load(one: Callable[[int], Awaitable[object]], first: int, count: int, at_once: int) -> list[float]:
    """Run ``one(number)`` so many times; the seconds of each."""
    numbers = iter(range(first, first + count))
    took: list[float] = []

    async def worker() -> None:
        for number in numbers:
            began = time.perf_counter()
            await one(number)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return took


async def paced(one: Callable[[int], Awaitable[object]], first: int, count: int, per_s: float) -> None:
    """Begin ``one(number)`` so many times a second, whatever those before are doing; wait for the last."""
    started = time.perf_counter()
    under_way: set[asyncio.Future[object]] = set()
    for number in range(count):
        ahead = started + number / per_s - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        task = asyncio.ensure_future(one(first + number))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def measure_paced(
    one: Callable[[int], Awaitable[object]], heard: list[float], count: int, per_s: float
) -> None:
    """Warm up for a second, begin, ``count`` messages at a steady pace, end. ``heard``: their seconds."""
    warm = int(per_s)
    await paced(one, 10_000_000, warm, per_s)
    await until(lambda: len(heard) >= warm)
    heard.clear()
    begin()
    started = time.perf_counter()
    await paced(one, 0, count, per_s)
    await until(lambda: len(heard) >= count)
    end(count, time.perf_counter() - started, heard)


async def until(true: Callable[[], bool]) -> None:
    """Return once it is; looks every few milliseconds."""
    while not true():
        await asyncio.sleep(0.005)


def load_threads(one: Callable[[int], object], first: int, count: int, at_once: int) -> list[float]:
    """The same in threads."""

    def timed(number: int) -> float:
        began = time.perf_counter()
        one(number)
        return time.perf_counter() - began

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(timed, range(first, first + count)))


async def measure(one: Callable[[int], Awaitable[object]], count: int, at_once: int, **more: object) -> None:
    """Warm up, begin, load, end."""
    await load(one, 0, max(at_once, count // 10), at_once)
    begin()
    started = time.perf_counter()
    took = await load(one, 10_000_000, count, at_once)
    end(count, time.perf_counter() - started, took, **more)


def measure_threads(one: Callable[[int], object], count: int, at_once: int, **more: object) -> None:
    """Warm up, begin, load, end, in threads."""
    load_threads(one, 0, max(at_once, count // 10), at_once)
    begin()
    started = time.perf_counter()
    took = load_threads(one, 10_000_000, count, at_once)
    end(count, time.perf_counter() - started, took, **more)
