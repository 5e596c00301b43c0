"""What goes wrong is told by the trip alone; what a ride costs, by the meter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from examples.ride import rules
from examples.ride.fare import quote
from examples.ride.trips import SAMPLE, read_trips


def test_rules_give_the_same_answer_in_another_process() -> None:
    """No hash seed, no order and no clock has a say."""
    rides = [trip.ride_id for trip in read_trips(SAMPLE, 50)]
    program = (
        "from examples.ride import rules\n"
        f"print([rules.card_declined(r, 'credit card') for r in {rides!r}])\n"
        f"print([rules.portal_down(r) for r in {rides!r}])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }
    declined = [rules.card_declined(ride, "credit card") for ride in rides]
    assert answers == {f"{declined}\n{[rules.portal_down(ride) for ride in rides]}\n"}


def test_cash_is_never_declined() -> None:
    """A rule about cards does not meet a rider who pays cash."""
    rides = [f"ride-{number}" for number in range(2000)]
    assert any(rules.card_declined(ride, "credit card") for ride in rides)
    assert not any(rules.card_declined(ride, "cash") for ride in rides)


def test_a_zone_is_dry_for_an_hour() -> None:
    """All rides of a zone and an hour share its fate, and other hours do not."""
    hours = [f"2019-03-{day:02d}T{hour:02d}" for day in range(1, 32) for hour in range(24)]
    dry = [hour for hour in hours if rules.zone_is_dry("Union Sq", f"{hour}:00:00")]
    assert 0 < len(dry) < len(hours) * 0.1
    assert all(rules.zone_is_dry("Union Sq", f"{hour}:59:59") for hour in dry)


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        (rules.CARDS_DECLINED, lambda ride: rules.card_declined(ride, "credit card")),
        (rules.PORTAL_STUMBLES, rules.portal_stumbles),
        (rules.PORTAL_OUTAGE, rules.portal_down),
        (rules.ENDS_EARLY, rules.ends_early),
        (rules.TOLD_TWICE, rules.told_twice),
    ],
)
def test_rules_meet_their_share(wanted: float, rule: object) -> None:
    """Each rule meets about as many rides as it says."""
    assert callable(rule)
    met = sum(bool(rule(f"ride-{number}")) for number in range(20_000)) / 20_000
    assert met == pytest.approx(wanted, rel=0.15)


def test_rules_do_not_depend_on_each_other() -> None:
    """Declined cards are no likelier among trips that end early: each rule hashes under its own name."""
    early = [ride for ride in (f"ride-{n}" for n in range(40_000)) if rules.ends_early(ride)]
    declined = sum(rules.card_declined(ride, "credit card") for ride in early) / len(early)
    assert declined == pytest.approx(rules.CARDS_DECLINED, rel=0.3)


@pytest.mark.parametrize(
    ("distance", "at", "tolls", "total"),
    [
        (1.6, "2019-03-23T20:21:09", 0, 250 + 8 * 50 + 80 + 50),  # Saturday night
        (0.01, "2019-03-20T12:00:00", 0, 250 + 50 + 80),  # a fifth begun is a fifth paid
        (2.0, "2019-03-20T16:00:00", 576, 250 + 10 * 50 + 80 + 100 + 576),  # Wednesday, rush hour
        (2.0, "2019-03-24T16:00:00", 0, 250 + 10 * 50 + 80),  # Sunday has none
        (0.2, "2019-03-20T05:59:59", 0, 250 + 50 + 80 + 50),
        (0.6, "2019-03-20T06:00:00", 0, 250 + 3 * 50 + 80),  # 0.6 * 5 is a hair more than 3
    ],
)
def test_the_fare_is_the_meters(distance: float, at: str, tolls: int, total: int) -> None:
    """Start, fifths of a mile, surcharges by the clock, tolls: in whole cents."""
    assert quote(distance, at, tolls).total_cents == total
