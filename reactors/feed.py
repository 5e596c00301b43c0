"""What just happened, told to whoever watches: the live feed of each workspace.

Best effort by design: nothing here may slow a reaction down or fail it. The records are in the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import orjson
import structlog

from contracts.crash import reached
from contracts.errors import StoreError
from store.live.port import Live

__all__ = ["Feed"]

MOST_WAITING = 10_000


class Feed:
    """Appends entries to ``ws/<workspace>`` in batches, in the background.

    While the live store is away, entries are dropped (oldest first) and that is logged once.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._log = structlog.get_logger("antiphon.reactors")

    def tell(self, workspace: str, entry: dict[str, Any]) -> None:
        """Hand over one entry; returns at once."""
        self._waiting.append((f"ws/{workspace}", orjson.dumps(entry)))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="antiphon-reactors-feed")

    async def flush(self) -> None:
        """Return when what was handed over is appended or dropped."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def _drain(self) -> None:
        while self._waiting:
            batches: dict[str, list[bytes]] = {}
            while self._waiting:
                feed, entry = self._waiting.popleft()
                batches.setdefault(feed, []).append(entry)
            for feed, entries in batches.items():
                await self._append(feed, entries)

    async def _append(self, feed: str, entries: list[bytes]) -> None:
        try:
            reached("reactors.feed.tell.before")
            await self._live.append(feed, *entries)
            reached("reactors.feed.tell.after")
        except StoreError as error:
            if not self._away:
                self._log.warning("live feed away; entries are dropped until it is back", error=str(error))
            self._away = True
        except Exception:
            # Nobody waits for this task: an error that nobody thought of is seen here or never.
            self._log.exception("live feed failed; entries are dropped")
        else:
            if self._away:
                self._log.info("live feed back")
            self._away = False
