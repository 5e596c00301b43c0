"""The time axis: order kept, short stretches seen, long ones folded and said to be."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.axis import Axis
from gateway.dashboard.words import duration

MOMENTS = st.lists(st.floats(1.7e9, 1.7e9 + 1e6), min_size=1, max_size=40)


@given(MOMENTS, st.booleans())
def test_later_is_never_drawn_left_of_earlier(moments: list[float], true: bool) -> None:
    """Places keep the order of time, and stay on the paper."""
    axis = Axis(moments, true=true)
    places = [axis.x(moment) for moment in sorted(moments)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


@given(MOMENTS)
def test_labels_of_an_axis_do_not_overlap(moments: list[float]) -> None:
    """Two labels stand apart, and none outside the paper."""
    ticks = Axis(moments).ticks()
    assert all(after.x - before.x >= 10 for before, after in pairwise(ticks))
    assert all(0 <= tick.x <= 100 for tick in ticks)


def test_a_long_wait_is_folded_so_that_short_steps_can_be_seen() -> None:
    """Milliseconds of work beside twenty minutes of waiting keep their room; the fold says how long."""
    axis = Axis([0.0, 0.010, 0.025, 0.040, 1200.0, 1200.01, 1200.03])
    assert axis.x(0.010) - axis.x(0.0) > 3
    assert axis.x(1200.0) - axis.x(0.040) < 50
    assert [fold.label for fold in axis.folds()] == ["20 min"]


def test_a_true_axis_is_linear_and_folds_nothing() -> None:
    """Half of the time is half of the width."""
    axis = Axis([0.0, 0.010, 1200.0], true=True)
    assert axis.x(600.0) == 50.0
    assert axis.folds() == []


def test_a_story_of_one_moment_can_be_drawn() -> None:
    """One moment, or none, does not divide by zero."""
    assert Axis([5.0]).x(5.0) == 0.0
    assert Axis([]).x(1.0) in (0.0, 100.0)


def test_durations_read_like_a_person_would_say_them() -> None:
    """Two units at the most, and no empty ones."""
    seconds = (None, 0, 0.0004, 0.012, 1.25, 42.42, 60, 200, 3600, 190_000, -2)
    said = ["–", "0 ms", "400 µs", "12 ms", "1.25 s", "42.4 s", "1 min", "3 min 20 s", "1 h", "2 d 4 h"]
    assert [duration(each) for each in seconds] == [*said, "-2.00 s"]
