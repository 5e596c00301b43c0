"""The ride in its simulated world: without trouble, and with all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

import pytest

from antiphon.testing import FAULTS, Fault, Simulation, play, simulate
from antiphon.testing.broker import Broker
from bus.embedded.line import Line
from bus.embedded.record import Record
from bus.port import Outgoing
from contracts.errors import ConfigurationError
from examples.ride.app import app
from examples.ride.simulated import simulation


def test_every_ride_comes_to_its_end_without_faults() -> None:
    """A quiet seed starts rides, ends them all, and strikes nobody."""
    outcomes = list(play(simulation, range(1, 6), faults=(), runs=3))
    assert [outcome.broken for outcome in outcomes] == [()] * 5
    assert all(sum(outcome.runs.values()) == 3 for outcome in outcomes)
    assert all(set(outcome.runs) <= {"completed", "compensated", "cancelled"} for outcome in outcomes)
    assert all(outcome.faults == {} for outcome in outcomes)


def test_every_promise_holds_in_sixty_troubled_seeds() -> None:
    """Crashes, repeats, lost answers, cuts and freezes: every ride ends, and the books agree."""
    struck: set[str] = set()
    for outcome in play(simulation, range(1, 61), runs=2):
        assert outcome.ok, f"seed {outcome.seed}: {outcome.broken}\n{outcome.story}"
        struck |= set(outcome.faults)
    assert struck == set(FAULTS)


def test_the_answer_to_a_lease_that_is_lost_leaves_no_partition_to_nobody() -> None:
    """Seed 1026: taken, never at work because the answer was lost, and due to another one by then."""
    outcome = simulate(simulation, seeds=[1026], runs=2)
    assert outcome.ok, outcome.story


def test_the_same_seed_tells_the_same_story_byte_for_byte() -> None:
    """Also after other seeds, and in another process with another order of its sets."""
    first = [outcome.story for outcome in play(simulation, [7, 8, 9], runs=2)]
    assert [outcome.story for outcome in play(simulation, [9], runs=2)] == first[2:]
    asked = "from antiphon.testing import play; from examples.ride.simulated import simulation as s; "
    asked += "print(*(outcome.story for outcome in play(s, [7, 8, 9], runs=2)), sep='\\n', end='')"
    for hash_seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", asked],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout == "\n".join(first)


def test_another_seed_tells_another_story() -> None:
    """The seed is what decides."""
    first, second = play(simulation, [1, 2], runs=2)
    assert first.story != second.story


def test_an_invariant_of_ones_own_ends_the_seed_and_is_in_the_story() -> None:
    """What a user says must never be is looked for after each commit."""

    def nobody_rides(stage: object) -> list[str]:
        runs = stage.runs.values()  # type: ignore[attr-defined]
        return [f"{run.key} has a driver" for run in runs if "match_driver" in run.results]

    outcome = simulate(simulation, seeds=range(1, 20), faults=(), invariants=[nobody_rides])
    assert not outcome.ok
    assert "has a driver" in outcome.broken[0]
    assert "BROKEN" in outcome.story.splitlines()[-1]


def test_an_app_without_a_script_is_played_by_the_examples_in_its_contracts() -> None:
    """Runs start from the example of the input, and get what they wait for."""
    plain = Simulation(app, prepare=simulation.prepare)
    outcome = simulate(plain, seeds=range(1, 4), runs=2)
    assert outcome.ok, outcome.story
    assert sum(outcome.runs.values()) == 2


def test_no_seeds_are_refused() -> None:
    """Nothing played proves nothing."""
    with pytest.raises(ConfigurationError):
        simulate(simulation, seeds=[])


@pytest.mark.parametrize("faults", [["crsh"], "crash", ("all",)])
def test_faults_that_do_not_exist_are_refused(faults: list[Fault]) -> None:
    """Seeds in which nothing goes wrong prove less than they seem to."""
    with pytest.raises(ConfigurationError, match=r"there is no fault .*; there are: crash, "):
        simulate(simulation, seeds=[1], faults=faults)


def test_each_reordering_that_is_counted_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message arrives behind one that was published after it: what only might happen proves nothing."""
    overtaken = 0
    take, put = Broker.take, Line.put
    published: dict[str, int] = {}
    arrived: dict[str, int] = {}

    def taking(broker: Broker, out: Outgoing) -> bool:
        published.setdefault(out.message.id, len(published))
        return take(broker, out)

    def putting(line: Line, records: Iterable[Record]) -> None:
        nonlocal overtaken
        records = list(records)
        for record in records:
            if record.handed == 0 and record.message is not None:
                number = published.get(record.message.id, -1)
                overtaken += number < arrived.get(line.name, -1)
                arrived[line.name] = max(number, arrived.get(line.name, -1))
        put(line, records)

    monkeypatch.setattr(Broker, "take", taking)
    monkeypatch.setattr(Line, "put", putting)
    counted = 0
    for outcome in play(simulation, range(1, 11), faults=["reorder"]):
        counted += outcome.faults.get("reorder", 0)
        arrived.clear()
    assert counted > 5
    assert overtaken >= counted
