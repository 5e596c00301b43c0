"""The live store in memory, which may be gone for a moment: nothing that lasts may depend on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import SupportsBytes

from antiphon.testing.chance import Chance
from antiphon.testing.story import Story
from contracts.errors import LiveUnavailable
from store.live.memory import MemoryLive

__all__ = ["SimulatedLive"]

_SELDOM = 0.3  # of the times at which an answer may be lost: what is announced is much, and matters least


class SimulatedLive(MemoryLive):
    """See ``store.live.port.Live``."""

    def __init__(self, chance: Chance, story: Story, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self._chance = chance
        self._story = story

    async def append(self, feed: str, *entries: SupportsBytes, keep: int = 10_000) -> list[str]:
        """Append, or not; and say so, or not."""
        if self._lost():
            self._story.tell("live store", f"did not take what was told to {feed}")
            raise LiveUnavailable("simulated: the live store did not answer, and has nothing")
        ids = await super().append(feed, *entries, keep=keep)
        if self._lost():
            self._story.tell("live store", f"has what was told to {feed}, and its answer was lost")
            raise LiveUnavailable("simulated: the live store did not answer")
        return ids

    def _lost(self) -> bool:
        return self._chance.dice.random() < _SELDOM and self._chance.strikes("lost-reply")
