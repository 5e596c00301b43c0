"""The benchmark of the boundary measures what it says: each case does its work on a message that fits."""

from __future__ import annotations

from benchmarks.boundary import cases, event, measure, report


def test_every_case_does_its_work() -> None:
    """And the message is about as long as the goals are about."""
    assert 280 <= len(event().body) <= 320
    for name, work in cases().items():
        assert work() is not False, name


def test_the_report_holds_the_figures_to_the_goals() -> None:
    """A figure that misses its goal is told as missed."""
    found = measure(1, 0.0001)
    assert set(report(found)["median_us"]) == set(cases())
    slow = {**found, "verify, decode, validate: ed25519": 251.0, "validate: registry": 1e6}
    assert set(report(slow)["goals"].values()) == {False}
