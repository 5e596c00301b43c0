"""Looking for one planted bug, by what is said of it."""

from __future__ import annotations

from antiphon.testing import FAULTS, Outcome, Simulation, simulate
from antiphon.testing.chance import Fault

__all__ = ["find"]


def find(
    simulation: Simulation, says: str, within: int, *, faults: tuple[Fault, ...] = FAULTS, runs: int
) -> Outcome:
    """The first of the seeds from 1 to ``within`` that breaks the very promise of which it ``says`` so.

    Others may break another one first: which, is a matter of the dice.
    """
    first = 1
    while first <= within:
        found = simulate(simulation, seeds=range(first, within + 1), faults=faults, runs=runs)
        if found.ok:
            break
        if any("BROKEN" in line and says in line for line in found.story.splitlines()):
            return found
        first = found.seed + 1
    raise AssertionError(f"no seed up to {within} said {says!r}")
