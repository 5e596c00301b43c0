"""From times to places on one time axis, in percent of its width.

A ride works for milliseconds and waits for minutes. Drawn to scale, one of the two can't be seen.
The readable axis therefore keeps time in order and short stretches in proportion, gives each
stretch between two things that happened room enough to be seen, and folds long ones: a fold is
marked, with its true length. The true axis is linear.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2

from gateway.dashboard.words import duration

__all__ = ["Axis", "Fold", "Tick"]

_LEAST_SHARE = 0.35  # of an even share: what the shortest stretch gets at least
_FOLDED_FROM = 4.0  # a stretch this many times as long as it is drawn is marked as folded
_LONG = 3.0  # times the usual stretch, from which on a stretch is drawn ever shorter
_MOST_SHARE = 0.2  # of all usual stretches: what a long one gets at most
_APART = 11.0  # percent between two labels


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on the axis: ``x`` in percent, ``label`` the time since the start."""

    x: float
    label: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Fold:
    """A stretch that is drawn much shorter than it was; ``x`` is its middle, in percent."""

    x: float
    left: float
    width: float
    label: str


class Axis:
    """Places for times between ``start`` and ``end``, in seconds since the epoch."""

    def __init__(self, moments: Iterable[float], *, true: bool = False) -> None:
        points = sorted(set(moments))
        if not points:
            points = [0.0]
        if len(points) == 1:
            points.append(points[0] + 1.0)
        self.start, self.end = points[0], points[-1]
        self.true = true
        self._points = [self.start, self.end] if true else _thinned(points)
        self._places = _places(self._points, true=true)

    def x(self, at: float) -> float:
        """Where ``at`` stands, 0 to 100; what lies outside stands at the border."""
        if at <= self.start:
            return 0.0
        if at >= self.end:
            return 100.0
        right = bisect_right(self._points, at)
        before, after = self._points[right - 1], self._points[right]
        low, high = self._places[right - 1], self._places[right]
        return round(low + (high - low) * (at - before) / (after - before), 3)

    def ticks(self) -> list[Tick]:
        """Labels at round shares of a true axis, at moments of a readable one, never too close."""
        if self.true:
            moments = [self.start + (self.end - self.start) * part / 5 for part in range(6)]
        else:
            moments = self._points
        chosen: list[float] = [moments[0]]
        for moment in moments[1:-1]:
            if self.x(moment) - self.x(chosen[-1]) >= _APART and 100 - self.x(moment) >= _APART:
                chosen.append(moment)
        chosen.append(moments[-1])
        return [self._tick(moment) for moment in chosen]

    def folds(self) -> list[Fold]:
        """The stretches that are drawn much shorter than they were."""
        if self.true:
            return []
        usual = min(
            (after - before) / max(high - low, 1e-9)
            for (before, after), (low, high) in zip(
                pairwise(self._points), pairwise(self._places), strict=True
            )
        )
        typical = sorted(
            (after - before) / max(high - low, 1e-9)
            for (before, after), (low, high) in zip(
                pairwise(self._points), pairwise(self._places), strict=True
            )
        )[(len(self._points) - 1) // 2]
        scale = max(usual, typical)
        return [
            Fold((low + high) / 2, low, high - low, duration(after - before))
            for (before, after), (low, high) in zip(
                pairwise(self._points), pairwise(self._places), strict=True
            )
            if (after - before) / max(high - low, 1e-9) > scale * _FOLDED_FROM and after - before >= 0.5
        ]

    def _tick(self, moment: float) -> Tick:
        since = moment - self.start
        anchor = "start" if moment == self.start else "end" if moment == self.end else "middle"
        return Tick(self.x(moment), f"+{duration(since)}" if since else "0", anchor)


def _thinned(points: Sequence[float]) -> list[float]:
    """The points without those that can't be told apart on paper, the last always kept."""
    least = (points[-1] - points[0]) / 1e7
    kept = [points[0]]
    for point in points[1:-1]:
        if point - kept[-1] > least and points[-1] - point > least:
            kept.append(point)
    kept.append(points[-1])
    return kept


def _places(points: Sequence[float], *, true: bool) -> list[float]:
    lengths = [after - before for before, after in pairwise(points)]
    if true:
        weights = lengths
    else:
        middle = sorted(lengths)[len(lengths) // 2] or max(lengths) or 1.0
        weights = [_weight(length / middle) for length in lengths]
        usual = sum(weight for weight in weights if weight <= _LONG)
        weights = [min(weight, max(usual * _MOST_SHARE, 1.2)) for weight in weights]
    whole = sum(weights) or 1.0
    places, place = [0.0], 0.0
    for weight in weights:
        place += weight * 100 / whole
        places.append(place)
    places[-1] = 100.0
    return places


def _weight(relative: float) -> float:
    """How much room a stretch gets, by how many times the usual stretch it is long."""
    if relative <= 1:
        return max(relative, _LEAST_SHARE)
    if relative <= _LONG:
        return relative
    return min(_LONG + log2(relative / _LONG) * 0.6, 7.0)
