"""How often and how soon to try again."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigurationError
from contracts.retry import Retry


def test_delays_grow_to_a_limit() -> None:
    """Each delay is twice the last, up to the most."""
    policy = Retry(first=1, factor=2, most=10, jitter=0)
    assert [policy.delay(attempt, random.random) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]


@given(attempt=st.integers(1, 10**6), chance=st.floats(0, 1), jitter=st.floats(0, 0.99))
def test_a_delay_stays_within_its_jitter(attempt: int, chance: float, jitter: float) -> None:
    """However late the attempt, the delay is at most the limit and its jitter."""
    policy = Retry(first=0.5, most=60, jitter=jitter)
    plain = Retry(first=0.5, most=60, jitter=0).delay(attempt, lambda: 0.5)
    assert plain * (1 - jitter) - 1e-9 <= policy.delay(attempt, lambda: chance) <= plain * (1 + jitter) + 1e-9


@given(attempt=st.integers(1, 4), chance=st.floats(0, 1))
def test_the_spans_have_every_delay(attempt: int, chance: float) -> None:
    """Of the four retries of five attempts; and one that never retries has none."""
    policy = Retry()
    delay = policy.delay(attempt, lambda: chance)
    assert any(least <= delay <= most for least, most in policy.spans())
    assert Retry.once().spans() == []
    assert Retry.until_done(first=1, most=2).spans() == [(0.8, 1.2), (1.6, 2.4)]


def test_attempts_count_the_first() -> None:
    """Three attempts give up after the third; without end never does."""
    assert [Retry(attempts=3).gives_up(attempt) for attempt in (1, 2, 3, 4)] == [False, False, True, True]
    assert Retry.once().gives_up(1)
    assert not Retry.until_done().gives_up(10**9)


@pytest.mark.parametrize(
    "policy", [Retry(), Retry.until_done(most=5), Retry.once(), Retry(attempts=7, jitter=0)]
)
def test_the_json_form_comes_back(policy: Retry) -> None:
    """A policy survives its JSON form."""
    assert Retry.from_json(policy.as_json()) == policy


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"first": -1},
        {"factor": 0.5},
        {"first": 5, "most": 1},
        {"jitter": 1},
        {"jitter": -0.1},
        {"tries": 3},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """A wrong number or an unknown name is a configuration error."""
    with pytest.raises(ConfigurationError):
        Retry.from_json(wrong)
