"""Planted bugs of the order in which things are done and undone: the mill's own books are closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from antiphon.testing import simulate
from orchestrator import backward, evolve, outcomes
from orchestrator.facts import Fact
from orchestrator.run import Run
from tests.simulation.mill import simulation

Plant = Callable[[pytest.MonkeyPatch], None]

WITHOUT_BOOKS = replace(simulation, invariants=(), at_the_end=())


def the_oldest_is_undone_first(patch: pytest.MonkeyPatch) -> None:
    scheduled = evolve._EVOLUTIONS["step_scheduled"]

    def evolution(run: Run, fact: Fact) -> None:
        known = list(run.undo)
        scheduled(run, fact)
        run.undo = [node for node in run.undo if node not in known] + known

    patch.setitem(evolve._EVOLUTIONS, "step_scheduled", evolution)


def the_last_to_undo_is_left_out(patch: pytest.MonkeyPatch) -> None:
    go_back = backward.go_back

    def hasty(turn: Any) -> None:
        if len(turn.run.undo) == 1 and not turn.run.paused:
            backward._end(turn)
        else:
            go_back(turn)

    for module in (backward, outcomes):
        patch.setattr(module, "go_back", hasty)


def what_a_retry_orders_is_not_undone(patch: pytest.MonkeyPatch) -> None:
    scheduled = evolve._EVOLUTIONS["step_scheduled"]

    def evolution(run: Run, fact: Fact) -> None:
        scheduled(run, fact)
        if fact.data["attempt"] > 1 and fact.node in run.undo:
            run.undo.remove(fact.node)

    patch.setitem(evolve._EVOLUTIONS, "step_scheduled", evolution)


PLANTED: list[tuple[Plant, str]] = [
    (the_oldest_is_undone_first, "was done after it, and should be undone first"),
    (the_last_to_undo_is_left_out, "was never undone"),
    (what_a_retry_orders_is_not_undone, "and should be undone first"),
]


@pytest.mark.parametrize(("plant", "says"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_bug_is_found_without_any_invariant_of_the_apps_own(
    plant: Plant, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That very one, within few seeds."""
    plant(monkeypatch)
    found = simulate(WITHOUT_BOOKS, seeds=range(1, 31), runs=3)
    assert not found.ok, "not found in thirty seeds"
    assert any("BROKEN" in line and says in line for line in found.story.splitlines()), found.story
