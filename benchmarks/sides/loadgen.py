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
