"""Tells the live feed what happened: for dashboards, and for gateways that wait for an answer.

Nothing depends on it: what is told here stands in the journal already. When the live store is away,
entries are dropped, and whoever waits looks into the journal instead.
"""

from __future__ import annotations

from typing import Any

import orjson

from orchestrator.facts import ENDINGS, Fact
from orchestrator.happenings import StartRequested
from orchestrator.run import Run
from store.live.feeds import workspace_feed
from store.live.port import Live
from store.live.teller import Teller

__all__ = ["Announcer", "answers_feed"]

_BETWEEN_ANSWERS = 0.01  # seconds
_BETWEEN_FACTS = 0.02  # nobody sees a page change sooner
# What a reader of the feed needs of a fact's data; the rest is in the history.
_SHOWN = frozenset(
    ("attempt", "error", "retry_at", "event_id", "event_type", "outcome", "status", "child", "due")
)


def answers_feed(incarnation: str) -> str:
    """The feed of the answers to one gateway process."""
    return f"answers/{incarnation}"


class Announcer:
    """One for each process. Whoever waits for an answer is told sooner than those who only watch."""

    def __init__(self, live: Live) -> None:
        self._answers = Teller(live, gather=_BETWEEN_ANSWERS)
        self._facts = Teller(live, gather=_BETWEEN_FACTS)

    async def stop(self) -> None:
        """Return when all is told, or the live store is away."""
        await self._answers.flush()
        await self._facts.flush()

    def facts(self, run: Run, facts: list[Fact]) -> None:
        """These facts are durable now."""
        feed = workspace_feed(run.workspace)
        common = _common(run) if facts else b""
        for fact in facts:
            self._facts.tell_json(feed, common + orjson.dumps(_own(fact))[1:])
            if run.answer_to and fact.type in ENDINGS:
                self._answers.tell(answers_feed(run.answer_to), {"ended": run.id, "status": run.status})

    def answer(self, start: StartRequested, outcome: str) -> None:
        """A start has its answer: created, exists, conflict or purged."""
        if start.answer_to:
            entry = {"start_id": start.message_id, "run_id": start.run_id, "outcome": outcome}
            self._answers.tell(answers_feed(start.answer_to), entry)


def _common(run: Run) -> bytes:
    """The beginning of each entry about this run: written once for all of its facts."""
    common = {
        "kind": "fact",
        "correlation": run.correlation,
        "run": run.id,
        "flow": run.flow,
        "key": run.key,
        "status": run.status,
    }
    return orjson.dumps(common)[:-1] + b","


def _own(fact: Fact) -> dict[str, Any]:
    """The rest of a fact's entry."""
    shown = {name: value for name, value in fact.data.items() if name in _SHOWN}
    return {"seq": fact.seq, "type": fact.type, "node": fact.node, "at": fact.at, **shown}
