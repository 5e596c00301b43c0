"""Order out of several clocks, cursors, and the Prefer header: pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.preferences import wait_preference
from gateway.queries.page import BadCursor, read_cursor, write_cursor
from gateway.queries.timeline import Entry, arrange


def fact(seq: int, at: float, *, gives: tuple[str, ...] = (), caused_by: str | None = None) -> Entry:
    return Entry(f"f{seq}", "fact", "run:r", "t", at, {}, seq=seq, gives=gives, caused_by=caused_by)


def event(id: str, at: float) -> Entry:
    return Entry(f"e:{id}", "event", "events", "t", at, {}, gives=(id,), caused_by=id)


def reaction(of: str, at: float) -> Entry:
    return Entry(f"r:{of}", "reaction", "reactor:x", "t", at, {}, caused_by=of)


def test_an_effect_is_never_shown_before_its_cause() -> None:
    """A reactor whose clock is behind is moved behind the event, the event behind the fact before it."""
    story = arrange([reaction("m", 5.0), event("m", 9.0), fact(1, 10.0, gives=("m",))])
    assert [entry.id for entry in story] == ["f1", "e:m", "r:m"]
    assert [entry.order for entry in story] == [10.0, 10.0, 10.0]
    assert [entry.at for entry in story] == [10.0, 9.0, 5.0]
    assert [entry.cause for entry in story] == [None, "f1", "e:m"]


def test_a_runs_facts_stay_in_their_order_when_its_owner_changes() -> None:
    """The new owner's clock may be behind the old one's; numbers count."""
    story = arrange([fact(3, 7.0), fact(1, 9.0), fact(2, 8.0)])
    assert [entry.seq for entry in story] == [1, 2, 3]


def test_a_cause_that_is_not_in_the_story_is_no_cause() -> None:
    """Nothing is invented for a message id that nobody here sent."""
    assert [entry.cause for entry in arrange([reaction("gone", 1.0)])] == [None]


def test_a_circle_of_causes_is_shown_all_the_same() -> None:
    """Made-up ids may claim to cause each other: nothing is dropped."""
    circle = [
        Entry("a", "event", "events", "t", 2.0, {}, gives=("1",), caused_by="2"),
        Entry("b", "event", "events", "t", 1.0, {}, gives=("2",), caused_by="1"),
    ]
    assert {entry.id for entry in arrange(circle)} == {"a", "b"}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20), st.randoms())
def test_whatever_the_clocks_say_order_and_causes_agree(times: list[float], random: object) -> None:
    """Every entry is there once, behind its cause, and shown times never go back."""
    entries: list[Entry] = []
    for number, at in enumerate(times, start=1):
        entries.append(fact(number, at, gives=(f"m{number}",)))
        entries.append(event(f"m{number}", times[-number]))
        entries.append(reaction(f"m{number}", times[number // 2]))
    random.shuffle(entries)  # type: ignore[attr-defined]
    story = arrange(entries)
    places = {entry.id: place for place, entry in enumerate(story)}
    assert sorted(places) == sorted(entry.id for entry in entries)
    assert all(entry.cause is None or places[entry.cause] < places[entry.id] for entry in story)
    assert [entry.order for entry in story] == sorted(entry.order for entry in story)


@given(st.floats(allow_nan=False, allow_infinity=False), st.text().filter(lambda id: "\0" not in id))
def test_a_cursor_is_read_as_it_was_written(at: float, id: str) -> None:
    """Times keep every bit, so that no row is skipped or shown twice."""
    assert read_cursor(write_cursor(at, id)) == (at, id)


@pytest.mark.parametrize(
    "cursor", ["", "?", "W10", "WzEsMl0", "bnVsbA", "WyJhIiwiYiJd", "é", "W3RydWUsImEiXQ"]
)
def test_a_cursor_that_we_did_not_make_is_refused(cursor: str) -> None:
    """Whatever it holds: no text, no list, wrong types."""
    with pytest.raises(BadCursor):
        read_cursor(cursor)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("wait=10", 10.0),
        ("Wait = 10", 10.0),
        ('wait="7"', 7.0),
        ("respond-async, wait=3", 3.0),
        ("wait=3; foo=bar, wait=9", 3.0),
        ("wait=100", 30.0),
        ("wait=0", 0.0),
        ("wait", None),
        ("wait=", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=٣", None),
        ("wait=" + "9" * 5000, None),
        ("waiting=3", None),
    ],
)
def test_the_wait_preference(header: str | None, seconds: float | None) -> None:
    """RFC 7240: the first counts, capped; what can't be read is ignored."""
    assert wait_preference(header, 30.0) == seconds
