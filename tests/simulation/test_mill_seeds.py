"""Every kind of node, step and reactor, with functions that fail in every way: the books agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from antiphon.testing import Stage, play_in_parallel, simulate
from tests.simulation.mill import simulation

MILL = "tests.simulation.mill:simulation"


@pytest.mark.timeout(600)
def test_eighty_seeds_of_the_mill_keep_every_promise() -> None:
    """Forks, choices, children, signals, sleeps, chains of reactors; cancelled and paused at any time."""
    runs: Counter[str] = Counter()
    for outcome in play_in_parallel(MILL, range(1, 81), runs=3, processes=2):
        assert outcome.ok, f"seed {outcome.seed}: {outcome.broken}\n{outcome.story}"
        runs.update(outcome.runs)
    assert set(runs) >= {"completed", "compensated", "cancelled", "failed"}
    assert min(runs.values()) >= 5


def test_a_run_that_nothing_can_ever_bring_on_ends_the_seed_with_its_reason() -> None:
    """Soon, and not after all of the patience."""

    async def nobody_pays(stage: Stage, runs: int) -> None:
        await stage.start("job", {"id": "job-1", "big": False})

    outcome = simulate(replace(simulation, script=nobody_pays), seeds=range(1, 9), faults=())
    assert not outcome.ok
    assert "nothing came for 'paid' in time" in outcome.broken[0]
    assert "waited 60 s in vain" in outcome.broken[0]
