"""Tells the live feed what happened: for dashboards, and for gateways that wait for an answer.

Nothing depends on it: what is told here stands in the journal already. When the live store is away,
entries are dropped, and whoever waits looks into the journal instead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import orjson
import structlog

from contracts.crash import reached
from contracts.errors import LiveUnavailable
from orchestrator.facts import ENDINGS, Fact
from orchestrator.happenings import StartRequested
from orchestrator.run import Run
from store.live.port import Live

__all__ = ["Announcer", "answers_feed", "workspace_feed"]

log = structlog.get_logger(__name__)

_MOST_WAITING = 50_000
# What a reader of the feed needs of a fact's data; the rest is in the history.
_SHOWN = ("attempt", "error", "retry_at", "event_id", "event_type", "outcome", "status", "child", "due")


def workspace_feed(workspace: str) -> str:
    """The feed of all that happens in a workspace."""
    return f"ws/{workspace}"


def answers_feed(incarnation: str) -> str:
    """The feed of the answers to one gateway process."""
    return f"answers/{incarnation}"


class Announcer:
    """One for each process; gathers entries and appends them in as few calls as it can."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=_MOST_WAITING)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False

    def start(self) -> None:
        """Begin to append."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Append what is there, once, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._append()

    def facts(self, run: Run, facts: list[Fact]) -> None:
        """These facts are durable now."""
        feed = workspace_feed(run.workspace)
        for fact in facts:
            self._put(feed, _entry(run, fact))
            if run.answer_to and fact.type in ENDINGS:
                self._put(answers_feed(run.answer_to), {"ended": run.id, "status": run.status})

    def answer(self, start: StartRequested, outcome: str) -> None:
        """A start has its answer: created, exists or conflict."""
        if start.answer_to:
            entry = {"start_id": start.message_id, "run_id": start.run_id, "outcome": outcome}
            self._put(answers_feed(start.answer_to), entry)

    def _put(self, feed: str, entry: dict[str, Any]) -> None:
        self._waiting.append((feed, orjson.dumps(entry)))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._append()

    async def _append(self) -> None:
        feeds: dict[str, list[bytes]] = {}
        while self._waiting:
            feed, entry = self._waiting.popleft()
            feeds.setdefault(feed, []).append(entry)
        try:
            for feed, entries in feeds.items():
                reached("orchestrator.announcer.tell.before")
                await self._live.append(feed, *entries)
                reached("orchestrator.announcer.tell.after")
            self._away = False
        except LiveUnavailable as error:
            if not self._away:
                log.warning("live_feed_away", error=str(error))
            self._away = True


def _entry(run: Run, fact: Fact) -> dict[str, Any]:
    shown = {name: fact.data[name] for name in _SHOWN if name in fact.data}
    return {
        "kind": "fact",
        "correlation": run.correlation,
        "run": run.id,
        "flow": run.flow,
        "key": run.key,
        "status": run.status,
        "seq": fact.seq,
        "type": fact.type,
        "node": fact.node,
        "at": fact.at,
        **shown,
    }
