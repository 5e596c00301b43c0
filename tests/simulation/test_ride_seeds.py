"""A thousand seeds of the ride, on every processor: the promises hold, and every fault did happen."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from antiphon.testing import FAULTS, play_in_parallel

SEEDS = range(1, 1001)
RIDE = "examples.ride.app:app"


@pytest.mark.timeout(600)  # a minute on two idle processors
def test_a_thousand_seeds_of_the_ride_keep_every_promise() -> None:
    """Each fault strikes often, in many seeds; rides come to a good end and to a bad one."""
    faults: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    seeds: Counter[str] = Counter()
    played = 0
    for outcome in play_in_parallel(RIDE, SEEDS, runs=2, processes=os.cpu_count() or 1):
        assert outcome.ok, f"seed {outcome.seed}: {outcome.broken}\n{outcome.story}"
        played += 1
        faults.update(outcome.faults)
        runs.update(outcome.runs)
        seeds.update(list(outcome.faults))
    print(f"\n{played} seeds; faults: {dict(faults)}; runs: {dict(runs)}")
    assert played == len(SEEDS)
    assert set(faults) == set(FAULTS)
    assert min(faults.values()) > 200
    assert min(seeds.values()) > 200
    assert runs["completed"] > 500
    assert runs["compensated"] > 50
    assert runs["cancelled"] > 50
