"""The starts that this process asked for and that no owner has taken up yet, as far as it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from bus.backlog import Backlog
from contracts.errors import StoreError
from orchestrator.answers import run_of

__all__ = ["Unstarted"]

log = structlog.get_logger(__name__)

_LOOK = 1.0  # seconds between looks into the journal
_HEARD_BY_NOW = 5.0  # seconds after which the journal is asked, since an answer may be lost
_MOST_AT_A_LOOK = 500


class Unstarted:
    """Counts them and their age, also of those whose asker has been told "accepted" and is gone.

    ``unconfirmed`` is what the bus has not confirmed, starts and whatever else this process publishes.
    ``look`` gives the row of a run, or None. Answers over the live feed can be lost (they are no more than
    news), so what is not heard of is looked up.
    """

    def __init__(
        self, look: Callable[[str], Awaitable[Any]], *, backlog: Backlog | None = None, every: float = _LOOK
    ) -> None:
        self._look = look
        self._backlog = backlog if backlog is not None else Backlog()
        self.unconfirmed = Backlog()
        self._every = every
        self._watcher: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._backlog)

    def age(self) -> float:
        """Seconds that the oldest has waited; see ``Backlog.age``."""
        return self._backlog.age()

    def start(self) -> None:
        """Begin to look up what is not heard of."""
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Look no more."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    @contextmanager
    def handing_over(self, id: str) -> Iterator[None]:
        """A start on its way to the bus: counted from now on, unless the bus does not take it."""
        self._backlog.add(id)
        try:
            with self.unconfirmed.under_way():
                yield
        except BaseException:
            self._backlog.drop(id)
            raise

    def answered(self, id: str) -> None:
        """An owner has taken it up."""
        self._backlog.answered(id)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._look_up()
            except StoreError as error:
                log.info("starts_not_looked_up", waiting=len(self), error=str(error))

    async def _look_up(self) -> None:
        ids = self._backlog.older_than(_HEARD_BY_NOW, _MOST_AT_A_LOOK)
        rows = await asyncio.gather(*(self._look(run_of(id)) for id in ids))
        for id, row in zip(ids, rows, strict=True):
            if row is not None:
                self.answered(id)
