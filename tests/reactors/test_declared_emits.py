"""A reactor that says what it emits is held to it."""

from __future__ import annotations

import pytest

from contracts.envelope import Event
from contracts.errors import ConfigurationError
from contracts.registry import Registry
from reactors.context import ReactionContext
from reactors.reactor import reactor_of, reacts_to


def context(emits: tuple[str, ...] | None) -> ReactionContext:
    registry = Registry()
    for type in ("a.said.v1", "a.other.v1"):
        registry.add(type, {"type": "object"})
    event = Event.create("a.came.v1", {}, id="e-1", source="/outside", at=0.0, workspace="w", correlation="c")
    return ReactionContext(
        event,
        reactor="r",
        attempt=1,
        registry=registry,
        source="/w/reactors/r",
        clock=lambda: 0.0,
        transactional=False,
        emits=emits,
    )


async def test_what_is_declared_may_be_emitted_and_nothing_else() -> None:
    """The check before anything runs and what runs say the same."""
    held = context(("a.said.v1",))
    await held.emit("a.said.v1", {})
    with pytest.raises(ConfigurationError, match=r"'a\.other\.v1' and does not declare it"):
        await held.emit("a.other.v1", {})
    events, _ = held.close()
    assert [event.type for event in events] == ["a.said.v1"]


async def test_a_reactor_that_declares_nothing_is_free() -> None:
    """``emits`` is a promise that nobody has to make."""
    free = context(None)
    await free.emit("a.other.v1", {})
    assert len(free.close()[0]) == 1


def test_a_declaration_keeps_what_it_emits() -> None:
    """A list is kept; a bare text is refused, and so is what is no type."""

    @reacts_to("a.came.v1", emits=["a.said.v1"], ends="it is said once")
    async def hear(event: dict) -> None:  # type: ignore[type-arg]
        return None

    declared = reactor_of(hear)
    assert (declared.emits, declared.ends) == (("a.said.v1",), "it is said once")
    for wrong in ("a.said.v1", ["Not A Type"]):
        with pytest.raises(ConfigurationError, match="emits"):
            reacts_to("a.came.v1", emits=wrong)(hear)
