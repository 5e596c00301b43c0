"""Planted bugs of the order in which things are done and undone: the mill's own books are closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import backward, evolve, forward, outcomes
from orchestrator.facts import Fact
from orchestrator.nodes import Call, Parallel, Sleep, Wait
from orchestrator.plan import Place
from orchestrator.run import Run
from tests.simulation.mill import simulation
from tests.simulation.planted import find

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


def _left_out(kind: type[Any]) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        start = forward._start

        def hasty(turn: Any, place: Place) -> bool:
            return isinstance(place.node, kind) or start(turn, place)

        patch.setattr(forward, "_start", hasty)

    plant.__name__ = f"each_{kind.__name__.lower()}_is_left_out"
    return plant


def events_are_left_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(forward, "publish", lambda turn, node: None)


def a_timer_is_recorded_twice(patch: pytest.MonkeyPatch) -> None:
    fired = outcomes.timer_fired

    def twice(turn: Any, name: str) -> None:
        entry = dict(turn.run.active.get(name, {}))
        if entry.get("kind") == "sleep" and turn.now >= entry["due"]:
            turn.record("timer_fired", name)
            turn.run.active[name] = entry
        fired(turn, name)

    patch.setattr(outcomes, "timer_fired", twice)


PLANTED: list[tuple[Plant, str]] = [
    (the_oldest_is_undone_first, "was done after it, and should be undone first"),
    (the_last_to_undo_is_left_out, "was never undone"),
    (_left_out(Sleep), "began, and nothing that stands before it had ended"),
    (_left_out(Wait), "ended, and nothing that stands before its end had ended"),
    (_left_out(Call), "began, and nothing that stands before it had ended"),
    (_left_out(Parallel), "began, and nothing that stands before it had ended"),
    (events_are_left_out, "ended, and nothing that stands before its end had ended"),
    (a_timer_is_recorded_twice, "has timer_fired dry a second time"),
    (what_a_retry_orders_is_not_undone, "and should be undone first"),
]


@pytest.mark.parametrize(("plant", "says"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_bug_is_found_without_any_invariant_of_the_apps_own(
    plant: Plant, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That very one, within few seeds."""
    plant(monkeypatch)
    find(WITHOUT_BOOKS, says, 30, runs=3)
