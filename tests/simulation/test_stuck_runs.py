"""A run that is stuck fails its seed, whoever began it, unless the simulation says that runs may stick."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from antiphon import Terminal
from antiphon.testing import Stage, simulate
from tests.simulation.shop import simulation


def locked(ctx: Any) -> None:
    raise Terminal("the shelf is locked")


async def begun_by_the_client_itself(stage: Stage, runs: int) -> None:
    """As a service would, and not by the stage, which notes what was accepted. Nobody pays."""
    order = {"order": "order-1", "cents": 1250}
    await stage.client.start(stage.workspace, "order", order, start_id="start-1", wait=5.0)


def test_a_run_that_the_stage_did_not_begin_may_not_stick_either() -> None:
    """It was left out of what has to end; with ``may_stick`` it is."""
    sticking = replace(simulation, script=begun_by_the_client_itself, stand_ins={"undo:reserve": locked})
    outcome = simulate(sticking, seeds=[1], faults=())
    assert outcome.runs == {"stuck": 1}
    assert not outcome.ok
    assert "is stuck (reserve: stuck: the shelf is locked)" in outcome.broken[0]
    assert simulate(replace(sticking, may_stick=True), seeds=[1], faults=()).ok
