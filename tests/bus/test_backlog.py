"""What is under way: how much, and how long the way takes."""

from __future__ import annotations

import pytest

from bus.backlog import Backlog


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_age_is_that_of_the_oldest() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    assert (len(backlog), backlog.age()) == (0, 0.0)
    backlog.add("a")
    clock.now += 3
    backlog.add("b")
    backlog.add("a")  # asked again: it has waited since the first time
    clock.now += 1
    assert (len(backlog), backlog.age()) == (2, 4.0)
    backlog.answered("a")
    assert (len(backlog), backlog.age()) == (1, 1.0)
    backlog.drop("b")
    assert (len(backlog), backlog.age()) == (0, 0.0)


def test_what_was_overtaken_counts_but_does_not_look_like_a_delay() -> None:
    """A start that was quarantined is never answered, and must not close the door for everybody."""
    clock = Clock()
    backlog = Backlog(clock)
    for id in ("lost", "good", "next"):
        backlog.add(id)
        clock.now += 10
    backlog.answered("good")
    assert (len(backlog), backlog.age()) == (2, 10.0)
    assert backlog.older_than(5, 10) == ["lost", "next"]
    assert backlog.older_than(5, 1) == ["lost"]
    assert backlog.older_than(15, 10) == ["lost"]
    backlog.answered("lost")
    assert len(backlog) == 1


def test_what_will_never_be_answered_is_forgotten() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    backlog.add("lost")
    clock.now += 1
    backlog.add("good")
    clock.now += 1_000
    backlog.answered("good")
    assert len(backlog) == 0


def test_something_without_an_id() -> None:
    backlog = Backlog(Clock())
    with backlog.under_way():
        assert len(backlog) == 1
    with pytest.raises(ValueError, match="no"), backlog.under_way():
        raise ValueError("no")
    assert len(backlog) == 0
