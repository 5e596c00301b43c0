"""One arrival that can't be taken harms no other, and ends where somebody sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import orchestrator.journal as journal
from orchestrator.context import StepContext
from orchestrator.nodes import step
from orchestrator.run import Run
from store import tables
from tests.orchestrator.flows import flow
from tests.orchestrator.running import House


async def nothing(ctx: StepContext) -> dict[str, Any]:
    return {"key": ctx.run_key}


async def test_a_start_that_can_not_be_kept_is_quarantined_and_its_neighbours_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses one row of a batch: the others are committed, that message is kept apart."""
    written = journal.new_row

    def refused(run: Run) -> dict[str, Any]:
        if run.key == "bad":
            raise ValueError("the database does not take this")
        return written(run)

    monkeypatch.setattr(journal, "new_row", refused)
    made = flow(step(nothing))
    await house.orchestrate(made)
    client = await house.client(made)
    keys = ["good-1", "bad", "good-2", "good-3"]
    receipts = await asyncio.gather(
        *(client.start("acme", made.name, {"id": key}, start_id=key, wait=2.0) for key in keys)
    )
    outcomes = {key: receipt.outcome for key, receipt in zip(keys, receipts, strict=True)}
    assert outcomes.pop("bad") == "accepted"
    assert set(outcomes.values()) == {"created"}
    for key, receipt in zip(keys, receipts, strict=True):
        if key != "bad":
            assert (await house.until(receipt.run_id, "completed"))["key"] == key
    (held,) = await house.rows(tables.quarantine)
    assert held["message_id"] == "bad"
    assert "does not take this" in held["detail"]


async def test_a_result_that_can_not_be_kept_fails_its_step(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is done and can't be recorded: the run does not stay at work for ever."""
    written = journal.fact_row

    def refused(run: Run, fact: Any) -> dict[str, Any]:
        if fact.type == "step_completed":
            raise ValueError("the database does not take this")
        return written(run, fact)

    monkeypatch.setattr(journal, "fact_row", refused)
    made = flow(step(nothing, deadline="10ms"))
    await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    run = await house.until(receipt.run_id, "failed", "compensated")
    assert "result_not_kept" in run["error"]
