"""Tests under virtual time: a whole app in one process, with faults that a seed draws, or with none.

``simulate`` plays seeds and says which promise was broken, and how it came to that; ``antiphon simulate``
is the same on the command line.
"""

from __future__ import annotations

from antiphon.testing.chance import FAULTS, Fault
from antiphon.testing.finding import find_simulation
from antiphon.testing.kit import Reaction, TestHouse, in_virtual_time
from antiphon.testing.parallel import play_in_parallel
from antiphon.testing.seeds import narrow, play, simulate
from antiphon.testing.simulation import Simulation, follow_the_contracts
from antiphon.testing.stage import Stage
from antiphon.testing.visit import StartedRun
from antiphon.testing.world import Outcome

__all__ = [
    "FAULTS",
    "Fault",
    "Outcome",
    "Reaction",
    "Simulation",
    "Stage",
    "StartedRun",
    "TestHouse",
    "find_simulation",
    "follow_the_contracts",
    "in_virtual_time",
    "narrow",
    "play",
    "play_in_parallel",
    "simulate",
]
