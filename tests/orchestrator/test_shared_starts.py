"""A message with several starts at its partition: what becomes of one is no other's."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

import orchestrator.journal as journal
from orchestrator.client import Client, Receipt
from orchestrator.context import StepContext
from orchestrator.flow import Flow
from orchestrator.nodes import step
from orchestrator.run import Run
from orchestrator.wire import partition_of
from reactors.quarantine_desk import QuarantineDesk
from store import tables
from tests.orchestrator.flows import flow, here
from tests.orchestrator.running import LIMIT, PARTITIONS_MADE, WORKSPACE, House, results_once, until


async def nothing(ctx: StepContext) -> dict[str, Any]:
    return {"key": ctx.run_key}


def neighbours(made: Flow, count: int) -> list[str]:
    """Keys of runs that one partition owns."""
    keys = (f"k{n}" for n in range(100 * count))
    run_of = {key: Client.run_id(WORKSPACE, made.name, key) for key in keys}
    return [key for key, run_id in run_of.items() if partition_of(run_id, PARTITIONS_MADE) == 0][:count]


async def start(client: Client, made: Flow, *keys: str, wait: float = LIMIT) -> list[Receipt]:
    """Starts of one moment."""
    return await asyncio.gather(
        *(client.start(WORKSPACE, made.name, {"id": key}, start_id=f"s-{key}", wait=wait) for key in keys)
    )


async def test_one_that_can_not_be_kept_is_quarantined_by_itself_and_can_be_released(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbours run; it is held as a start of its own, and a release starts that run and no other."""
    written = journal.new_row

    def refused(run: Run) -> tuple[Any, ...]:
        if run.key == bad:
            raise ValueError("the database does not take this")
        return written(run)

    monkeypatch.setattr(journal, "new_row", refused)
    made = flow(step(nothing))
    first, bad, *more = neighbours(made, 5)
    await house.orchestrate(made)
    client = await house.client(made)
    receipts = await start(client, made, first, bad, *more, wait=2.0)
    for receipt in [receipts[0], *receipts[2:]]:
        await house.until(receipt.run_id, "completed")

    async def kept_apart() -> bool:
        return bool(await house.rows(tables.quarantine))

    await until(kept_apart, lambda: "the quarantine")
    (held,) = await house.rows(tables.quarantine)
    assert held["message_id"] == f"s-{bad}"
    assert orjson.loads(held["headers"])["cloudEvents:type"] == "antiphon.start.v1"
    assert orjson.loads(held["body"])["key"] == bad
    assert len(await house.rows(tables.runs)) == len(receipts) - 1
    monkeypatch.undo()
    desk = QuarantineDesk(house.database, house.bus)
    assert await desk.release([WORKSPACE, ""], held["id"], actor="ann", reason="mended") == 1
    await house.until(receipts[1].run_id, "completed")
    assert len(await house.rows(tables.runs)) == len(receipts)


async def test_one_for_a_newer_app_waits_for_it_and_the_others_do_not(house: House) -> None:
    """In the middle of a deploy: the old process leaves what it does not know to the new one."""
    known, unknown = flow(here("a"), name="f"), flow(here("a"), name="g")
    await house.orchestrate(known)
    client = await house.client(known, unknown)
    old, new = neighbours(known, 3), neighbours(unknown, 1)
    done, _ = await asyncio.gather(start(client, known, *old), start(client, unknown, *new, wait=0.0))
    for receipt in done:
        await house.until(receipt.run_id, "completed")
    assert len(await house.rows(tables.runs)) == len(old)
    await house.orchestrate(known, unknown)
    await house.stop_first()
    await house.until(Client.run_id(WORKSPACE, "g", new[0]), "completed")
    assert await house.rows(tables.quarantine) == []


async def test_an_owner_goes_in_the_middle_of_a_message(house: House) -> None:
    """It had room for a few of the starts. The next one gets the message again, and takes the rest."""
    go = asyncio.Event()

    async def slow(ctx: StepContext) -> None:
        await go.wait()

    made = flow(step(slow))
    client = await house.client(made)
    owner = await house.orchestrate(made, steps_at_once=1, prefetch=2)
    keys = neighbours(made, 20)
    receipts = await start(client, made, *keys, wait=0.0)

    async def begun() -> bool:
        return len(await house.rows(tables.runs)) >= 2

    await until(begun, lambda: "the first few")
    await asyncio.sleep(0.3)  # more would come now
    assert len(await house.rows(tables.runs)) < len(keys)
    await owner.stop(grace=0.0)
    go.set()
    await house.orchestrate(made)
    for receipt in receipts:
        await house.until(receipt.run_id, "completed")
        assert results_once(await house.history(receipt.run_id))
    assert len(await house.rows(tables.runs)) == len(keys)
