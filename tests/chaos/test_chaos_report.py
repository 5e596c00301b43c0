"""What the last line of ``make chaos`` says of what went wrong."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import report
from tests.chaos.account import Account


def account(**more: object) -> Account:
    """A fault after which all is well."""
    plain = {"fault": "redis", "sent": 2, "completed": 2, "lost": 0, "duplicated_effects": 0}
    return Account(**{**plain, "recovered_s": 0.1, "slowest_s": 0.3, **more})  # type: ignore[arg-type]


def test_all_is_well() -> None:
    """Every key that a reader of the line needs is there, and nothing that is empty."""
    told = report(["redis"], [account()], 1.24)
    assert told["ok"] is True
    assert told["faults"]["redis"].keys() == {
        "fault",
        "sent",
        "completed",
        "lost",
        "duplicated_effects",
        "recovered_s",
        "slowest_s",
    }
    assert (told["seconds"], told["unfinished"]) == (1.2, [])


@pytest.mark.parametrize(
    "wrong",
    [{"lost": 1}, {"duplicated_effects": 1}, {"figures": {"p99_s": 8.1, "goal_p99_s": 8.0}}],
    ids=["lost", "doubled", "slow"],
)
def test_one_thing_wrong_is_not_well(wrong: dict[str, object]) -> None:
    """A loss, a doubled effect, or a takeover that took too long."""
    assert report(["redis"], [account(**wrong)], 1.0)["ok"] is False


def test_what_was_not_tried_is_not_well() -> None:
    """Nothing is wrong with what was tried, and that is not enough."""
    told = report(["redis", "postgres"], [account()], 1.0)
    assert (told["ok"], told["unfinished"]) == (False, ["postgres"])
