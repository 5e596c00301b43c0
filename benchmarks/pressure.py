"""A house under pressure: every role in one process, more starts than it can do, and what became of each."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg

from antiphon.devservices.ports import free_ports
from benchmarks.harness import ROOT, SIDES
from benchmarks.http import Answer, Connection

__all__ = ["Figures", "House", "capacity", "overload", "recovery"]

_KEY = "the-key-of-this-run-only"
_PATH = "/flows/bench/runs"
_PATIENCE = 120.0  # s: to start, and to end what was accepted
_PAGE = os.sysconf("SC_PAGE_SIZE") / 2**20  # MiB
_GONE = (OSError, EOFError, TimeoutError)


@dataclass
class Figures:
    """What came of it. Times in seconds, memory in MiB."""

    capacity_per_s: float = 0.0
    offered_per_s: float = 0.0
    offered: int = 0
    accepted: int = 0
    refused: int = 0  # 503 with Retry-After
    unanswered: int = 0  # the connection broke, or no answer came in time
    other: dict[str, int] = field(default_factory=dict)
    not_sent: int = 0  # every connection of the load was waiting
    accepted_p50_s: float = 0.0
    refused_p50_s: float = 0.0
    resident_mb: dict[str, float] = field(default_factory=dict)
    lost: int = 0
    all_ended_after_s: float = 0.0
    quick_again_after_s: float = 0.0

    def row(self) -> dict[str, Any]:
        """As one flat row."""
        found = asdict(self)
        for name, value in found.pop("resident_mb").items():
            found[f"resident_mb_{name}"] = value
        found["other"] = ", ".join(f"{count} times {what}" for what, count in self.other.items()) or "none"
        return found


class House:
    """``antiphon up`` as a process. ``places`` say where its servers are; settings have no prefix."""

    def __init__(self, places: Mapping[str, str], **settings: str) -> None:
        self._places = places
        self._settings = settings
        self._numbers = itertools.count()
        self.port = free_ports(1)[0]
        self.accepted: set[str] = set()  # keys

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        places = self._places
        self.database_url = places["ANTIPHON_DATABASE_URL"].replace("+asyncpg", "")
        own = {
            "HOME": self._folder.name,
            "PORT": str(self.port),
            "ADMIN_KEY": _KEY,
            "REQUESTS_PER_SECOND": "1000000",
            "REQUEST_BURST": "1000000",
            "LOG_LEVEL": "error",
            **self._settings,
        }
        environment = {**os.environ, **places, **{f"ANTIPHON_{name}": value for name, value in own.items()}}
        environment["PYTHONPATH"] = f"{SIDES}:{ROOT}"
        command = [sys.executable, "-m", "antiphon", "up", "antiphon_flows:here"]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        async with asyncio.timeout(_PATIENCE):
            while not await self.quick(10.0):
                if self.process.poll() is not None:
                    raise RuntimeError(f"antiphon up ended with {self.process.returncode}")
                await asyncio.sleep(0.2)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self.process.wait, 40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()

    def connection(self, **headers: str) -> Connection:
        """A connection with the key."""
        return Connection(self.port, {"Authorization": f"Bearer {_KEY}", **headers})

    def resident_mb(self) -> float:
        """What the process holds in memory now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE

    async def start(self, connection: Connection) -> Answer:
        """Ask for one run more, and note it when it was accepted."""
        key = f"k{next(self._numbers)}"
        answer = await connection.post(_PATH, b'{"id":"%s"}' % key.encode())
        if answer.status in (200, 202):
            self.accepted.add(key)
        return answer

    async def quick(self, within: float) -> bool:
        """Whether a new run ends within so many seconds."""
        async with self.connection(Prefer="wait=30") as connection:
            began = time.monotonic()
            try:
                answer = await self.start(connection)
            except _GONE:
                return False
            return answer.status == 200 and time.monotonic() - began < within

    async def not_ended(self) -> set[str]:
        """The accepted keys whose run has not completed."""
        link = await asyncpg.connect(self.database_url)
        try:
            rows = await link.fetch("SELECT key FROM runs WHERE status = 'completed'")
        finally:
            await link.close()
        return self.accepted - {row["key"] for row in rows}


async def capacity(house: House, seconds: float, clients: int = 100) -> float:
    """Runs per second with so many clients that wait for the end of each."""
    began = time.monotonic()
    ends, done = began + seconds, 0

    async def client() -> None:
        nonlocal done
        async with house.connection(Prefer="wait=30") as connection:
            while time.monotonic() < ends:
                answer = await house.start(connection)
                done += answer.status == 200

    await asyncio.gather(*(client() for _ in range(clients)))
    return done / (time.monotonic() - began)


async def overload(house: House, figures: Figures, *, seconds: float, connections: int) -> None:
    """Starts at ``figures.offered_per_s``, whatever becomes of them: an open loop."""
    free = [house.connection() for _ in range(connections)]
    took: dict[str, list[float]] = {"accepted": [], "refused": []}
    other: Counter[str] = Counter()
    memory: list[float] = []

    async def one(connection: Connection) -> None:
        began = time.monotonic()
        try:
            answer = await house.start(connection)
        except _GONE:
            figures.unanswered += 1
            return
        finally:
            free.append(connection)
        if answer.status in (200, 202):
            took["accepted"].append(time.monotonic() - began)
        elif answer.status == 503 and "retry-after" in answer.headers:
            took["refused"].append(time.monotonic() - began)
        else:
            other[f"{answer.status} {answer.body[:80].decode(errors='replace')}"] += 1

    figures.resident_mb["before"] = round(house.resident_mb(), 1)
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        while (now := time.monotonic() - began) < seconds:
            for _ in range(figures.offered, int(now * figures.offered_per_s)):
                figures.offered += 1
                if free:
                    tasks.create_task(one(free.pop()))
                else:
                    figures.not_sent += 1
            if len(memory) < int(now):
                memory.append(house.resident_mb())
            await asyncio.sleep(0.02)
        ended = time.monotonic()
    for connection in free:
        connection.close()
    figures.accepted, figures.refused = len(took["accepted"]), len(took["refused"])
    figures.accepted_p50_s, figures.refused_p50_s = (_middle(took[name]) for name in ("accepted", "refused"))
    figures.other = dict(other)
    third = max(1, len(memory) // 3)
    for name, part in (("first_third", memory[:third]), ("last_third", memory[-third:]), ("most", memory)):
        figures.resident_mb[name] = round(max(part, default=0.0), 1)
    figures.all_ended_after_s = figures.quick_again_after_s = ended  # from here on ``recovery`` counts


async def recovery(house: House, figures: Figures) -> None:
    """Wait until a new run is quick again, and until everything accepted has ended."""
    since = figures.all_ended_after_s
    async with asyncio.timeout(_PATIENCE):
        while not await house.quick(1.0):
            await asyncio.sleep(0.2)
    figures.quick_again_after_s = round(time.monotonic() - since, 1)
    deadline = time.monotonic() + _PATIENCE
    while (left := await house.not_ended()) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    figures.lost = len(left)
    figures.all_ended_after_s = round(time.monotonic() - since, 1)
    figures.resident_mb["after"] = round(house.resident_mb(), 1)


def _middle(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 4) if values else 0.0
