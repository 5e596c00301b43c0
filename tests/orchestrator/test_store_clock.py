"""The store's clock as a process reads it."""

from __future__ import annotations

from orchestrator.clock import StoreClock


class Steady:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_reading_is_taken_for_the_middle_of_its_round_trip() -> None:
    """The store's clock was read half way between question and answer."""
    steady = Steady()
    clock = StoreClock(wall=lambda: 0.0, steady=steady)
    steady.now = 102.0
    clock.set(5000.0, asked=101.0, answered=102.0)
    assert clock() == 5000.5


def test_a_slow_reading_does_not_spoil_an_exact_one() -> None:
    """A renewal that waited a second says little about the time."""
    steady = Steady()
    clock = StoreClock(wall=lambda: 0.0, steady=steady)
    clock.set(5000.0, asked=99.99, answered=100.0)
    before = clock()
    steady.now = 102.0
    clock.set(5001.1, asked=100.0, answered=102.0)
    assert clock() == before + 2.0


def test_an_old_reading_gives_way() -> None:
    """Clocks drift: after long enough, a less exact reading is the better one."""
    steady = Steady()
    clock = StoreClock(wall=lambda: 0.0, steady=steady)
    clock.set(5000.0, asked=99.99, answered=100.0)
    steady.now = 2000.0
    clock.set(9000.0, asked=1999.8, answered=2000.0)
    assert clock() == 9000.1


def test_a_guess_before_the_first_reading_pins_nothing() -> None:
    """The machine's clock is a minute ahead: the store's would stand still until then, and timers with it."""
    steady = Steady()
    clock = StoreClock(wall=lambda: 5060.0, steady=steady)
    assert clock() == 5060.0
    clock.set(5000.0, asked=100.0, answered=100.0)
    assert clock() == 5000.0
    steady.now = 101.0
    assert clock() == 5001.0


def test_it_never_goes_back() -> None:
    """A deadline that has passed stays passed."""
    steady = Steady()
    clock = StoreClock(wall=lambda: 0.0, steady=steady)
    clock.set(10_000.0, asked=100.0, answered=100.0)
    first = clock()
    clock.set(5000.0, asked=100.0, answered=100.0)
    assert clock() == first
