"""The error tree: what is drawn is what is there."""

from __future__ import annotations

import inspect
import pickle

import pytest

from contracts import errors
from contracts.errors import BusUnavailable, ContractViolation, PublishFailed, Retryable, Terminal, Violation


def drawn() -> dict[str, str | None]:
    """Each class in the docstring's drawing, with its parent."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip("│├└─ ").split(" ")[0]
        if not name.endswith(("Error", "Exception")) and not hasattr(errors, name):
            continue
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else None
    return parents


def classes() -> dict[str, type]:
    """Each class that the module defines."""
    return {
        name: one
        for name, one in vars(errors).items()
        if inspect.isclass(one) and one.__module__ == errors.__name__
    }


def test_the_drawing_is_the_tree() -> None:
    """Every error is drawn under its parent, and nothing is drawn that is not there."""
    actual = {
        name: None if one.__bases__ == (Exception,) else one.__bases__[0].__name__
        for name, one in classes().items()
        if issubclass(one, Exception)
    }
    assert drawn() == actual


def test_all_is_complete() -> None:
    """`__all__` names every class, sorted."""
    assert errors.__all__ == sorted(classes())


def test_errors_say_what_they_carry() -> None:
    """What machines need is in attributes, what people need in the text."""
    assert Retryable("busy", retry_after=2.5).retry_after == 2.5
    assert Retryable("busy", retry_after="120").retry_after == 120
    for nothing in ("Wed, 21 Oct 2026 07:28:00 GMT", "", "nan"):
        assert Retryable("busy", retry_after=nothing).retry_after is None
    assert Terminal("no", code="declined").code == "declined"
    refused = ContractViolation("t.v1", [Violation("/a", "a number", '"x"'), Violation("", "an object", "1")])
    assert (
        str(refused)
        == 'does not fit t.v1: at /a: expected a number, got "x"; at /: expected an object, got 1'
    )
    assert len(refused.violations) == 2
    failed = PublishFailed({3: BusUnavailable("gone")})
    assert "number 3: gone" in str(failed)


@pytest.mark.parametrize(
    "error",
    [
        ContractViolation("t.v1", [Violation("/a", "b", "c")]),
        Retryable("x", retry_after=1),
        Terminal("x", code="c"),
        PublishFailed({0: BusUnavailable("gone")}),
    ],
)
def test_errors_can_be_pickled(error: Exception) -> None:
    """An error crosses a process border with what it carries."""
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.__dict__.keys() == error.__dict__.keys()
