"""Tells feeds what happens, in the background: many entries in few appends.

Best effort by design: what is told stands in the store already, and nothing here may slow down or fail
whoever tells. While the live store is away, entries are dropped, and that is logged once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, SupportsBytes

import orjson
import structlog

from contracts.crash import reached
from contracts.errors import StoreError
from store.live.port import Live

__all__ = ["Teller"]

_MANY = 3  # entries of one append; with so many more are likely to come soon
_ENOUGH = 50  # entries that are worth an append, for which its own price is small

log = structlog.get_logger(__name__)


class Teller:
    """Appends what it is told, oldest first; beyond ``most`` entries the oldest are dropped.

    ``gather`` is how many seconds there are between the beginnings of two appends while much is told: one
    costs about the same for one entry as for fifty. Where fifty don't come in that time it is longer, up to
    ``patience`` seconds. After an append of one or two it is less, and an entry that comes after a quiet
    moment is told at once.
    """

    def __init__(self, live: Live, *, gather: float = 0.0, patience: float = 0.0, most: int = 50_000) -> None:
        self._live = live
        self._gather = gather
        self._patience = max(gather, patience)
        self._waiting: deque[tuple[str, SupportsBytes]] = deque(maxlen=most)
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._began = 0.0  # when the last append began, by the event loop's clock
        self._next = 0.0  # when the next one may

    def tell(self, feed: str, entry: Mapping[str, Any]) -> None:
        """Hand over one entry; returns at once."""
        self.tell_bytes(feed, orjson.dumps(entry))

    def tell_bytes(self, feed: str, entry: SupportsBytes) -> None:
        """The same for one that is the bytes of its JSON, or will give them (see ``Live.append``)."""
        self._waiting.append((feed, entry))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="antiphon-live-teller")

    async def flush(self) -> None:
        """Return when what was handed over is appended or dropped."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def _drain(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._waiting:
            if (pause := self._next - clock()) > 0:
                await asyncio.sleep(pause)
            began, self._began = self._began, clock()
            self._next = self._began + self._pause(len(self._waiting), self._began - began)
            feeds: dict[str, list[SupportsBytes]] = {}
            while self._waiting:
                feed, entry = self._waiting.popleft()
                feeds.setdefault(feed, []).append(entry)
            for feed, entries in feeds.items():
                await self._append(feed, entries)

    def _pause(self, entries: int, seconds: float) -> float:
        """Seconds until the append after one of so many ``entries``, which came in so many ``seconds``."""
        if entries < _MANY:
            return self._gather * entries / _MANY
        return min(self._patience, max(self._gather, seconds * _ENOUGH / entries))

    async def _append(self, feed: str, entries: list[SupportsBytes]) -> None:
        try:
            reached("store.live.teller.append.before")
            await self._live.append(feed, *entries)
            reached("store.live.teller.append.after")
        except StoreError as error:
            if not self._away:
                log.warning("live_feed_away", error=str(error), hint="entries are dropped until it is back")
            self._away = True
        except Exception:
            # Nobody waits for this task: an error that nobody thought of is seen here or never.
            log.exception("live_feed_failed")
        else:
            if self._away:
                log.info("live_feed_back")
            self._away = False
