"""For consumers that are processes of their own: what they heard, told by Redis."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

import redis
from loadgen import begin, end, load_threads

_HERE = os.path.dirname(os.path.abspath(__file__))


class Heard:
    """Counts in the worker, and tells Redis of the first and the last message."""

    def __init__(self, name: str) -> None:
        self._redis = redis.Redis.from_url(os.environ["REDIS_URL"])
        self._name = name
        self._lock = threading.Lock()
        self._count = 0
        self._first = 0.0

    def one(self) -> None:
        """One more was heard."""
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._first = time.perf_counter()
                self._redis.set(f"{self._name}:first", 1)
            if self._count == int(os.environ["BENCH_COUNT"]):
                self._redis.set(f"{self._name}:took", time.perf_counter() - self._first)

    def forget(self) -> None:
        """In the load generator: what an earlier round told."""
        self._redis.delete(f"{self._name}:first", f"{self._name}:took")

    def wait(self, what: str) -> float:
        """In the load generator: until the worker has told it."""
        while (told := self._redis.get(f"{self._name}:{what}")) is None:
            time.sleep(0.005)
        return float(told)  # type: ignore[arg-type]


def drain(heard: Heard, publish: Callable[[int], object], count: int, worker: Sequence[str]) -> None:
    """Publish ``count`` messages, then have the worker drain them."""
    heard.forget()
    began = time.perf_counter()
    load_threads(publish, 0, count, 8)
    published = count / (time.perf_counter() - began)
    process = subprocess.Popen(
        worker,
        cwd=_HERE,
        env={**os.environ, "PYTHONPATH": _HERE, "BENCH_COUNT": str(count)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        heard.wait("first")
        begin()
        end(count, heard.wait("took"), [], published_per_s=round(published))
    finally:
        process.terminate()
        process.wait(20)
