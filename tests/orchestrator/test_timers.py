"""Timers fire when they are due, whatever is overdue for good beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestrator import timers
from orchestrator.journal import Journal, TimerKey
from orchestrator.timers import Timers
from store import tables
from store.bulk import delete_rows, insert_rows
from store.database import Database
from tests.orchestrator.running import until

PAGE = 3
START = 1_000.0


class Owner:
    """The timers of a partition, at a time that stands until it is set; ``fired`` are their runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.now = START
        self.fired: list[str] = []
        self.timers = Timers(Journal(database), 0, clock=lambda: self.now, fire=self._note)

    def _note(self, run_id: str, name: str) -> None:
        self.fired.append(run_id)

    async def put(self, *due: TimerKey) -> None:
        rows = [{"run_id": run, "name": name, "partition": 0, "due_at": at} for at, run, name in due]
        await self._database.write(lambda connection: insert_rows(connection, tables.timers, rows))

    async def clear(self, run_id: str) -> None:
        await self._database.write(lambda c: delete_rows(c, tables.timers, [(run_id, "t")]))

    async def until_fired(self, run_id: str, times: int = 1) -> None:
        async def so() -> bool:
            return self.fired.count(run_id) >= times

        await until(so, lambda: f"{run_id}, {times} times: {self.fired}")


@pytest.fixture
async def owner(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Owner]:
    """One that reads three timers at once, often."""
    monkeypatch.setattr(timers, "_PAGE", PAGE)
    monkeypatch.setattr(timers, "_RELOAD", 0.01)
    made = Owner(database)
    yield made
    await made.timers.stop()


async def test_what_is_never_cleared_hides_nothing_behind_it(owner: Owner) -> None:
    """Overdue when this one begins, all due at once, or come due later: each fires once, and so do others."""
    stale = [f"s{n}" for n in range(4 * PAGE)]
    await owner.put(*((1.0, run, "t") for run in stale), (2.0, "late", "t"))
    await owner.put(*((START + 0.2, f"then{n}", "t") for n in range(4 * PAGE)), (START + 20, "good", "t"))
    owner.timers.start()
    await owner.until_fired("late")
    owner.now = START + 0.2
    await owner.until_fired(f"then{4 * PAGE - 1}")
    owner.now = START + 30
    await owner.until_fired("good")
    await asyncio.sleep(0.1)  # more would come now
    assert sorted(owner.fired) == sorted([*stale, "late", *(f"then{n}" for n in range(4 * PAGE)), "good"])


async def test_what_comes_due_waits_for_no_round_through_what_is_overdue(owner: Owner) -> None:
    """It is looked for by itself."""
    await owner.put(*((1.0, f"s{n:04}", "t") for n in range(200 * PAGE)), (START + 20, "good", "t"))
    owner.timers.start()
    await owner.until_fired("s0000")
    owner.now = START + 30
    await owner.until_fired("good")
    assert len(owner.fired) < 200 * PAGE


async def test_what_was_not_cleared_fires_again_after_a_while(owner: Owner) -> None:
    """Its batch may have failed; what was cleared meanwhile does not."""
    runs = [f"r{n}" for n in range(2 * PAGE - 1)]  # the round ends with the last
    await owner.put(*((1.0, run, "t") for run in runs))
    owner.timers.start()
    await owner.until_fired(runs[-1])
    await owner.clear("r1")
    owner.now += timers._NEXT_ROUND
    await owner.until_fired(runs[-1], 2)
    assert {run: owner.fired.count(run) for run in runs} == {run: 1 if run == "r1" else 2 for run in runs}
