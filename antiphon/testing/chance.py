"""What goes wrong, and when: drawn from the seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from contracts.errors import ConfigurationError

__all__ = ["FAULTS", "MEANING", "Chance", "Fault", "faults_named"]

Fault = Literal[
    "crash", "duplicate", "reorder", "delay", "lost-reply", "store-error", "clock-jump", "partition"
]
FAULTS: tuple[Fault, ...] = get_args(Fault)

MEANING: dict[Fault, str] = {
    "crash": "a process is gone at once, as after kill -9, and another one starts a little later",
    "duplicate": "a message comes twice, or its acknowledgement is lost and it comes again",
    "reorder": "a message overtakes others, where the bus promises no order",
    "delay": "a message is some seconds late",
    "lost-reply": "a commit or a publish is done, or is not, and nobody is told which",
    "store-error": "the store does not answer, and has done nothing",
    "clock-jump": "the clock of a machine is set up to an hour off, or the store's by some seconds",
    "partition": "a process stands still or is cut off for longer than its lease may last, and goes on",
}

# How likely each is at each of its opportunities; a seed is quiet or wild by a factor of its own.
_LIKELY: dict[Fault, float] = {
    "crash": 0.012,
    "duplicate": 0.05,
    "reorder": 0.15,
    "delay": 0.05,
    "lost-reply": 0.03,
    "store-error": 0.03,
}
# At most so often in one seed: what crashes a worker too often is parked, and that is no bug.
_MOST: dict[Fault, int] = {"crash": 4, "lost-reply": 12, "store-error": 12, "partition": 2, "clock-jump": 4}


def faults_named(text: str) -> tuple[Fault, ...]:
    """The faults of ``crash,delay``; ``none`` is none and ``all`` is all. Raises ConfigurationError."""
    if text in ("none", ""):
        return ()
    if text == "all":
        return FAULTS
    names = [name.strip() for name in text.split(",")]
    _check(names, "all and none")
    return tuple(fault for fault in FAULTS if fault in names)


def _check(names: Iterable[str], others: str = "and no others") -> None:
    for name in names:
        if name not in FAULTS:
            raise ConfigurationError(f"there is no fault {name!r}; there are: {', '.join(FAULTS)}, {others}")


@dataclass
class Chance:
    """The dice of one seed. ``quiet`` ends all trouble."""

    seed: int
    faults: frozenset[Fault] = frozenset(FAULTS)
    quiet: bool = False
    struck: dict[Fault, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Text is hashed the same in every process, whatever PYTHONHASHSEED says.
        self.dice = random.Random(f"antiphon {self.seed}")
        self._wildness = self.dice.choice([0.3, 1.0, 1.0, 2.5])

    @classmethod
    def of(cls, seed: int, faults: Iterable[Fault]) -> Chance:
        """The dice of a seed with these faults. Raises ConfigurationError."""
        chosen = tuple(faults)
        _check(chosen)
        return cls(seed, frozenset(chosen))

    def strikes(self, fault: Fault) -> bool:
        """Whether it goes wrong here and now."""
        return self.tempts(fault) and self.count(fault)

    def tempts(self, fault: Fault) -> bool:
        """Whether it may go wrong here; whether it does turns out later, and is counted then."""
        if self.quiet or fault not in self.faults:
            return False
        return self.dice.random() < _LIKELY[fault] * self._wildness

    def count(self, fault: Fault) -> bool:
        """Count one; false when this seed has had enough of them."""
        if self.quiet or fault not in self.faults:
            return False
        so_far = self.struck.get(fault, 0)
        if so_far >= _MOST.get(fault, 1_000_000):
            return False
        self.struck[fault] = so_far + 1
        return True

    def between(self, least: float, most: float) -> float:
        """A number of seconds."""
        return self.dice.uniform(least, most)
