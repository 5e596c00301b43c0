"""Which numbers there are between bounds, on a grid of multiples, and off other grids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from contracts.compatibility.budget import Budget
from contracts.compatibility.formula import Atom, Multiple, Range

__all__ = ["Numbers", "numbers"]

_MOST_TRIED = 4000


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers that were found; ``complete`` when there are no others."""

    values: tuple[int | float, ...]
    complete: bool


@dataclass(slots=True)
class _Bounds:
    low: Fraction | None = None
    low_open: bool = False
    high: Fraction | None = None
    high_open: bool = False
    grids: list[Fraction] = field(default_factory=list)
    off: list[Fraction] = field(default_factory=list)

    def take(self, atom: Atom) -> None:
        match atom:
            case Range(">=" | ">" as side, bound):
                is_open = side == ">"
                if self.low is None or (bound, is_open) > (self.low, self.low_open):
                    self.low, self.low_open = bound, is_open
            case Range(side, bound):
                is_open = side == "<"
                if self.high is None or (bound, not is_open) < (self.high, not self.high_open):
                    self.high, self.high_open = bound, is_open
            case Multiple(of, holds):
                (self.grids if holds else self.off).append(of)

    def admits(self, value: Fraction) -> bool:
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        below = self.high is None or value < self.high or (value == self.high and not self.high_open)
        return above and below and all((value / of).denominator != 1 for of in self.off)


def _lcm(first: Fraction, second: Fraction) -> Fraction:
    """The smallest number above 0 that is a multiple of both."""
    return Fraction(
        math.lcm(first.numerator, second.numerator), math.gcd(first.denominator, second.denominator)
    )


def numbers(atoms: Iterable[Atom], whole: bool, want: int, budget: Budget) -> Numbers:
    """Up to ``want`` whole numbers, or numbers that are not whole, that fit. Raises OutOfBudget."""
    bounds = _Bounds()
    for atom in atoms:
        bounds.take(atom)
    if not whole:
        bounds.off.append(Fraction(1))
    grids = [*bounds.grids, Fraction(1)] if whole else bounds.grids
    if not grids:
        return _dense(bounds, want, budget)
    step = grids[0]
    for grid in grids[1:]:
        step = _lcm(step, grid)
    return _on_grid(bounds, step, want, budget)


def _on_grid(bounds: _Bounds, step: Fraction, want: int, budget: Budget) -> Numbers:
    first = None if bounds.low is None else math.ceil(bounds.low / step)
    last = None if bounds.high is None else math.floor(bounds.high / step)
    # What is off other grids repeats after so many steps.
    period = 1
    for of in bounds.off:
        period = math.lcm(period, (_lcm(step, of) / step).numerator)
        if period > _MOST_TRIED:
            break
    found: list[int | float] = []
    exact = True
    for tried, factor in enumerate(_outward(first, last), start=1):
        budget.spend()
        if tried > _MOST_TRIED or (tried > 2 * period + 4 and not found):
            return Numbers(tuple(found), not found and exact and tried > 2 * period + 4)
        value = factor * step
        if bounds.admits(value):
            number = _as_json(value)
            exact = exact and number is not None
            if number is not None:
                found.append(number)
            if len(found) >= want:
                return Numbers(tuple(found), False)
    return Numbers(tuple(found), exact)


def _outward(first: int | None, last: int | None) -> Iterator[int]:
    """The factors from one bound on; without bounds from 0 in both directions."""
    if first is not None:
        factor = first
        while last is None or factor <= last:
            yield factor
            factor += 1
    elif last is not None:
        factor = last
        while True:
            yield factor
            factor -= 1
    else:
        yield 0
        factor = 1
        while True:
            yield factor
            yield -factor
            factor += 1


def _dense(bounds: _Bounds, want: int, budget: Budget) -> Numbers:
    low, high = bounds.low, bounds.high
    if low is not None and high is not None and low >= high:
        admitted = low == high and not bounds.low_open and not bounds.high_open and bounds.admits(low)
        number = _as_json(low) if admitted else None
        if number is None:
            return Numbers((), not admitted)
        return Numbers((number,), True)
    found: list[int | float] = []
    for value in _spread(low, high):
        budget.spend()
        number = _as_json(value) if bounds.admits(value) else None
        if number is not None:
            found.append(number)
        if len(found) >= want:
            break
    return Numbers(tuple(found), False)


def _spread(low: Fraction | None, high: Fraction | None) -> Iterator[Fraction]:
    if low is None and high is None:
        low, high = Fraction(0), Fraction(2)
    low = high - 2 if low is None and high is not None else low
    if low is None:
        return
    width = Fraction(2) if high is None else high - low
    yield low
    if high is not None:
        yield high
    for parts in (2, 4, 8, 10, 3, 7, 16, 100, 1000, 997):
        for index in range(1, min(parts, 12)):
            yield low + width * index / parts


def _as_json(value: Fraction) -> int | float | None:
    """The number as Python writes it in JSON; None when it has no exact form there."""
    if value.denominator == 1:
        return value.numerator
    try:
        number = float(value)
    except OverflowError:
        return None
    if Fraction(str(number)) == value or Fraction(number) == value:
        return number
    return None
