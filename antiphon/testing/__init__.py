"""Tests under virtual time: a whole app in one process, with faults that a seed draws, or with none.

``simulate`` plays seeds and says which promise was broken, and how it came to that; ``antiphon simulate``
is the same on the command line.
"""

from __future__ import annotations

from antiphon.testing.chance import FAULTS, Fault
from antiphon.testing.seeds import play, simulate
from antiphon.testing.simulation import Simulation, follow_the_contracts
from antiphon.testing.stage import Stage
from antiphon.testing.world import Outcome

__all__ = [
    "FAULTS",
    "Fault",
    "Outcome",
    "Simulation",
    "Stage",
    "follow_the_contracts",
    "play",
    "simulate",
]
