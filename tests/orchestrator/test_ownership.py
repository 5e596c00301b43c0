"""Owners that are killed, frozen, or leave, in processes of their own, on real servers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from orchestrator.catalog import Catalog
from orchestrator.client import Client
from orchestrator.context import StepContext
from orchestrator.nodes import step
from orchestrator.runtime import queues_of
from orchestrator.wire import partition_of
from store import tables
from tests.orchestrator.flows import flow
from tests.orchestrator.orchestrator_process import flows
from tests.orchestrator.running import PARTITIONS_MADE, WORKSPACE, House, results_once, until

ROOT = Path(__file__).parents[2]
TEN, POISONED, LONG = flows()


class Street:
    """A house, and orchestrators in processes of their own on it."""

    def __init__(self, house: House, trap: Path) -> None:
        self.house = house
        self.trap = trap
        self._processes: list[asyncio.subprocess.Process] = []

    async def spawn(self, name: str, *, lease: float = 3.0) -> asyncio.subprocess.Process:
        """One more orchestrator, at work."""
        house = self.house
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.orchestrator.orchestrator_process", name),
            *(str(house.amqp), house.database_url, str(house.redis), str(self.trap), str(lease)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._processes.append(process)
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 30) in (b"ready\n", b"")
        return process

    async def close(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def start(self, count: int) -> list[str]:
        """Runs of ten steps; their ids."""
        client = await self.house.client(TEN, POISONED, LONG)
        receipts = await asyncio.gather(
            *(
                client.start(WORKSPACE, "ten", {"id": f"k{n}"}, start_id=f"s{n}", wait=0.0)
                for n in range(count)
            )
        )
        return [receipt.run_id for receipt in receipts]

    async def count(self, type: str) -> int:
        query = select(func.count()).where(tables.history.c.type == type)
        return int(await self.house.database.read(lambda c: c.execute(query).scalar_one()))

    async def until_count(self, type: str, least: int) -> None:
        async def there() -> bool:
            return await self.count(type) >= least

        await until(there, lambda: f"{least} of {type}")

    async def owners(self) -> list[str]:
        return [row["owner"] or "" for row in await self.house.rows(tables.partitions)]

    async def check(self, run_ids: list[str]) -> None:
        """Each run has ended well, and no result of it was recorded twice."""
        await self.until_count("run_completed", len(run_ids))
        rows = await self.house.rows(tables.history)
        histories: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(rows, key=lambda row: row["seq"]):
            histories.setdefault(row["run_id"], []).append(row)
        assert set(histories) == set(run_ids)
        for history in histories.values():
            assert results_once(history)
            assert sum(fact["type"] == "step_completed" for fact in history) == 10


@pytest.fixture
async def street(rabbit: Any, postgres: Any, redis_server: Any, tmp_path: Path) -> AsyncIterator[Street]:
    """A house on real servers, with nobody in yet."""
    with rabbit.vhost() as amqp:
        house = House(amqp, postgres.create_database(), redis_server.url)
        await house.open()
        await house.bus.declare(*queues_of(Catalog([TEN, POISONED, LONG]), PARTITIONS_MADE))
        street = Street(house, tmp_path / "trap")
        try:
            yield street
        finally:
            await street.close()
            await house.close()


async def test_an_owner_that_is_killed_is_followed_and_no_result_counts_twice(
    street: Street, capsys: pytest.CaptureFixture[str]
) -> None:
    """``kill -9`` in the middle of 200 runs."""
    first = await street.spawn("first")
    run_ids = await street.start(200)
    await street.until_count("step_completed", 100)
    first.kill()
    await first.wait()
    killed = time.monotonic()
    second = asyncio.create_task(street.spawn("second"))
    before = await street.count("step_completed")
    assert before < 2000, "it was too quick to be killed in the middle"
    await street.until_count("step_completed", before + 1)
    took = time.monotonic() - killed
    await second
    await street.check(run_ids)
    with capsys.disabled():
        print(f"\ntakeover after kill -9: the first fact after {took:.1f} s (lease 3 s)")
    assert took < 30
    busy = await street.house.rows(tables.runs, busy=1)
    assert busy == []


async def test_a_zombie_changes_nothing(street: Street) -> None:
    """Stopped for longer than its lease, then woken, with its work in hand."""
    zombie = await street.spawn("zombie")
    run_ids = await street.start(150)
    await street.until_count("step_completed", 60)
    os.kill(zombie.pid, signal.SIGSTOP)
    frozen = time.monotonic()
    await street.spawn("heir")
    await street.until_count("run_completed", 150)
    await asyncio.sleep(max(0.0, 8.0 - (time.monotonic() - frozen)))
    histories = await street.house.rows(tables.history)
    os.kill(zombie.pid, signal.SIGCONT)

    async def shared() -> bool:
        return len({owner.partition("-")[0] for owner in await street.owners()} - {""}) == 2

    await until(shared, lambda: "the zombie to take its share as a new owner")
    assert zombie.returncode is None
    assert len(await street.house.rows(tables.history)) == len(histories)
    await street.check(run_ids)


async def test_a_leaver_hands_over_without_waiting_for_its_lease(street: Street) -> None:
    """SIGTERM: its partitions are given up before it is gone, and nothing is done twice."""
    leaver = await street.spawn("leaver")
    heir = await street.spawn("heir")
    run_ids = await street.start(100)
    await street.until_count("step_completed", 50)
    leaver.terminate()
    assert await asyncio.wait_for(leaver.wait(), 30) == 0
    rows = await street.house.rows(tables.partitions)
    assert not any((row["owner"] or "").startswith("leaver") for row in rows)
    await street.check(run_ids)
    assert [row["name"] for row in await street.house.rows(tables.processes)] == ["heir"]
    assert heir.returncode is None


async def test_a_step_that_kills_its_process_is_parked_with_the_reason(street: Street) -> None:
    """After five processes; then the sixth lives, and others' runs go on."""
    street.trap.touch()
    client: Client = await street.house.client(TEN, POISONED, LONG)
    receipt = await client.start(WORKSPACE, "poisoned", {"id": "p"}, start_id="p", wait=0.0)
    for number in range(8):
        process = await street.spawn(f"victim{number}", lease=1.0)
        try:
            assert await asyncio.wait_for(process.wait(), 8) == 17
        except TimeoutError:
            break
    run = await street.house.until(receipt.run_id, "stuck")
    assert number == 5
    assert "its process went away 5 times" in run["waiting"]
    history = await street.house.history(receipt.run_id)
    error = next(fact for fact in history if fact["type"] == "incident_raised")
    assert error["data"]["error"]["code"] == "crashes_its_worker"
    await street.start(3)
    await street.until_count("run_completed", 3)
    street.trap.unlink()
    await client.retry(WORKSPACE, receipt.run_id, reason="mended", actor="ann")
    await street.house.until(receipt.run_id, "completed")
    assert "active" not in orjson.loads((await street.house.run(receipt.run_id))["state"])


async def test_a_long_step_is_not_blamed_for_its_neighbour(street: Street) -> None:
    """At work each time that the poison kills: it ends well, and the poison alone is parked."""
    street.trap.touch()
    client: Client = await street.house.client(TEN, POISONED, LONG)
    receipts = {
        name: await client.start(WORKSPACE, name, {"id": "p"}, start_id=name, wait=0.0)
        for name in ("poisoned", "long")
    }
    died = 0
    for number in range(8):
        process = await street.spawn(f"victim{number}", lease=1.0)
        try:
            assert await asyncio.wait_for(process.wait(), 12) == 17
        except TimeoutError:
            break
        died += 1
    assert died == 5
    assert (await street.house.until(receipts["long"].run_id, "completed"))["waiting"] is None
    run = await street.house.until(receipts["poisoned"].run_id, "stuck")
    assert "its process went away 5 times" in run["waiting"]


async def test_a_step_that_blocks_the_event_loop_does_not_cost_the_leases(street: Street) -> None:
    """Trap 8: leases are renewed in a thread, so that a step may stop the loop for longer than a lease."""

    async def rude(ctx: StepContext) -> None:
        time.sleep(2.5)

    made = flow(step(rude))
    orchestrator = await street.house.orchestrate(made, lease=1.0, renew=0.1)

    await street.spawn("rival", lease=1.0)

    async def shared() -> bool:
        return len(orchestrator.owned) == PARTITIONS_MADE // 2

    await until(shared, lambda: "half of the partitions")
    before = orchestrator.owned
    key = next(
        key
        for key in map(str, range(1000))
        if partition_of(Client.run_id(WORKSPACE, "f", key), PARTITIONS_MADE) in before
    )
    run_id = (await street.house.start(made, key)).run_id
    await street.house.until(run_id, "completed")
    rows = await street.house.rows(tables.partitions, owner=orchestrator.incarnation)
    assert {row["id"]: row["epoch"] for row in rows} == before
    assert (await street.house.types(run_id)).count("step_scheduled") == 1
