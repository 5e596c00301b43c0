"""Patterns that are reasoned about: what is found fits, and what is proved holds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.compatibility.automaton import literal, texts
from contracts.compatibility.budget import Budget, OutOfBudget
from contracts.compatibility.lookahead import parted
from contracts.compatibility.regex import NotRegular, parse
from contracts.judge import fits

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\d", "\\w", "0", "^", "$", "[a-c]", "\\.", "-"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds(lambda one, two: one + two, inner, inner),
        st.builds(lambda one, two: f"({one}|{two})", inner, inner),
        st.builds(
            lambda one, times: f"(?:{one}){times}",
            inner,
            st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{1,}"]),
        ),
    ),
    max_leaves=6,
)
WORDS = ["".join(word) for size in range(4) for word in itertools.product("ab0.-", repeat=size)]


def budget() -> Budget:
    """Enough for small patterns."""
    return Budget(60_000, 5)


def searched(
    fit: str, avoid: str | None = None, least: int = 0, most: int | None = None, want: int = 3
) -> list[str] | None:
    """The texts that fit the one and avoid the other; None when that is not reasoned about."""
    try:
        avoids = [] if avoid is None else [parse(avoid)]
        return [*texts([parse(fit)], avoids, least, most, want, budget()).texts]
    except (NotRegular, OutOfBudget):
        return None


@settings(max_examples=300, deadline=None)
@given(one=PATTERNS, other=PATTERNS)
def test_what_is_found_fits_and_what_is_not_found_is_not_there(one: str, other: str) -> None:
    """A text that is found fits the one and not the other; none found means that no short word does."""
    found = searched(one, other)
    if found is None:
        return
    assert all(fits("pattern", one, text) and not fits("pattern", other, text) for text in found)
    if not found:
        assert [
            word for word in WORDS if fits("pattern", one, word) and not fits("pattern", other, word)
        ] == []


@settings(max_examples=200, deadline=None)
@given(pattern=PATTERNS, least=st.integers(0, 4), extra=st.integers(0, 3))
def test_lengths_are_kept(pattern: str, least: int, extra: int) -> None:
    """Texts that are found are as long as was asked for; none found means that none fits."""
    found = searched(pattern, None, least, least + extra)
    if found is None:
        return
    assert all(least <= len(text) <= least + extra and fits("pattern", pattern, text) for text in found)
    if not found:
        assert not any(
            fits("pattern", pattern, word) for word in WORDS if least <= len(word) <= least + extra
        )


def test_a_finite_language_is_told_apart_from_an_infinite_one() -> None:
    """All texts of a finite language are found, and it is said that they are all."""
    found = texts([parse("^(a|b)c?$")], [literal("a")], 0, None, 10, budget())
    assert (sorted(found.texts), found.complete) == (["ac", "b", "bc"], True)
    assert not texts([parse("^[a-z]$")], [], 0, None, 3, budget()).complete
    assert not texts([parse("^a+$")], [], 0, None, 3, budget()).complete


def test_anchors_inside_and_in_a_row() -> None:
    """Anchors hold in alternatives; several on one way through are not reasoned about."""
    assert searched("^a|b$", "^a|b$") == []
    assert searched("a^") == []
    assert searched("x(^a|b$)", "b$") == []
    with pytest.raises(NotRegular):
        parse("^^a")


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)b",
        "(?!a)b",
        "(?<=a)b",
        "(a)\\1",
        "\\bword",
        "\\p{L}",
        "(?i)a",
        "a**",
        "[a&&b]",
        "(",
        "[",
        "a{2",
        "[]a]",
        "[^]a]",
        "\\<a",
        "[\\>]",
    ],
)
def test_what_is_not_regular_is_refused(pattern: str) -> None:
    """Look-around, back references and what is no pattern at all are told as not reasoned about."""
    with pytest.raises(NotRegular):
        parse(pattern)


@settings(max_examples=200, deadline=None)
@given(ahead=PATTERNS, behind=PATTERNS, rest=PATTERNS, word=st.sampled_from(WORDS))
def test_look_ahead_in_parts_says_the_same(ahead: str, behind: str, rest: str, word: str) -> None:
    """A pattern that begins with look-ahead matches what its parts together match."""
    pattern = f"^(?={ahead})(?!{behind}){rest}"
    parts = parted(pattern)
    if parts is not None:
        assert fits("pattern", pattern, word) == all(
            fits("pattern", part, word) == wanted for part, wanted in parts
        )


def test_look_ahead_that_is_not_parted() -> None:
    """References to groups, alternatives at the top and look-ahead in the middle are left alone."""
    for pattern in (
        "(?=a)b",
        "^a(?=b)",
        "^(?=(a))\\1",
        "^(?=a)b|c",
        "^(?=^a|b)c",
        "^(?=a",
        "^a",
        "^(?=^?b)ab",
        "^(?!^*b)ab",
        "^(?=[])a]b)c",
    ):
        assert parted(pattern) is None
    assert parted("^(?=[)(|])(?!^\\))x") == [("^(?:[)(|])", True), ("^(?:\\))", False), ("^x", True)]
