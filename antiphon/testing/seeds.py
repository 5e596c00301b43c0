"""Plays seeds, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from antiphon.app import App
from antiphon.testing.chance import FAULTS, Fault
from antiphon.testing.ground import Ground
from antiphon.testing.simulation import Invariant, Simulation
from antiphon.testing.world import Outcome, World
from contracts.errors import ConfigurationError

__all__ = ["narrow", "play", "simulate"]

PARTITIONS = 3
_FEW = 2


def simulate(
    app: App | Simulation,
    *,
    seeds: Iterable[int] = range(1, 101),
    faults: Sequence[Fault] = FAULTS,
    runs: int = 3,
    invariants: Sequence[Invariant] = (),
) -> Outcome:
    """Play seeds until one breaks a promise; the outcome of that one, or of the last.

    ``runs`` of each flow are started in each seed; ``invariants`` are added to the simulation's own.
    Raises ConfigurationError when there are no seeds, or no such faults.
    """
    simulation = app if isinstance(app, Simulation) else Simulation(app)
    if invariants:
        simulation = replace(simulation, invariants=(*simulation.invariants, *invariants))
    outcome: Outcome | None = None
    for outcome in play(simulation, seeds, faults=faults, runs=runs):
        if not outcome.ok:
            break
    if outcome is None:
        raise ConfigurationError("no seeds were given: nothing was simulated, and nothing is proven")
    return outcome


def narrow(simulation: Simulation, seed: int, *, faults: Sequence[Fault], runs: int = 3) -> tuple[Fault, ...]:
    """The fewest of the faults, two at the most, with which the seed fails too; all, if it takes more.

    With fewer faults a seed tells another story, so that what breaks in it may be something else.
    """
    for count in range(min(_FEW + 1, len(faults))):
        for fewer in combinations(faults, count):
            if not simulate(simulation, seeds=[seed], faults=fewer, runs=runs).ok:
                return fewer
    return tuple(faults)


def play(
    simulation: Simulation, seeds: Iterable[int], *, faults: Sequence[Fault] = FAULTS, runs: int = 3
) -> Iterator[Outcome]:
    """The outcome of each seed, as it comes."""
    ground = Ground(PARTITIONS)
    try:
        for seed in seeds:
            yield World(simulation, seed, ground, faults=faults).run(runs)
    finally:
        ground.close()
