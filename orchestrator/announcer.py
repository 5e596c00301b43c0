"""Tells the live feed what happened: for dashboards, and for gateways that wait for an answer.

Nothing depends on it: what is told here stands in the journal already. When the live store is away,
entries are dropped, and whoever waits looks into the journal instead.
"""

from __future__ import annotations

import orjson

from orchestrator.facts import ENDINGS, Fact
from orchestrator.happenings import StartRequested
from orchestrator.run import Run
from store.live.feeds import workspace_feed
from store.live.port import Live
from store.live.teller import Teller

__all__ = ["Announcer", "answers_feed"]

_BETWEEN_ANSWERS = 0.01  # seconds
_BETWEEN_FACTS, _PATIENCE = 0.02, 0.1  # nobody sees a page change sooner
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
        self._facts = Teller(live, gather=_BETWEEN_FACTS, patience=_PATIENCE)

    async def stop(self) -> None:
        """Return when all is told, or the live store is away."""
        await self._answers.flush()
        await self._facts.flush()

    def facts(self, run: Run, facts: list[Fact]) -> None:
        """These facts are durable now."""
        feed = workspace_feed(run.workspace)
        about = _About(run)
        for fact in facts:
            self._facts.tell_bytes(feed, _Told(about, fact))
            if run.answer_to and fact.type in ENDINGS:
                self._answers.tell(answers_feed(run.answer_to), {"ended": run.id, "status": run.status})

    def answer(self, start: StartRequested, outcome: str, run: Run | None = None) -> None:
        """A start has its answer: created, exists, conflict or purged; ``run``: the one there is, if any.

        Who asks again is told of an end that is past as well, and need not wait until the journal is asked.
        """
        if start.answer_to:
            feed = answers_feed(start.answer_to)
            entry = {"start_id": start.message_id, "run_id": start.run_id, "outcome": outcome}
            self._answers.tell(feed, entry)
            if run is not None and run.ended:
                self._answers.tell(feed, {"ended": run.id, "status": run.status})


class _About:
    """What the entries about a run have in common; JSON once for all of them, when the first one is read."""

    __slots__ = ("_common", "_json")

    def __init__(self, run: Run) -> None:
        self._common = (run.correlation, run.id, run.flow, run.key, run.status)
        self._json: bytes | None = None

    def beginning(self) -> bytes:
        """Such an entry up to what is its own."""
        if self._json is None:
            correlation, run, flow, key, status = self._common
            common = {
                "kind": "fact",
                "correlation": correlation,
                "run": run,
                "flow": flow,
                "key": key,
                "status": status,
            }
            self._json = orjson.dumps(common)[:-1] + b","
        return self._json


class _Told:
    """A fact's entry, which becomes JSON when it is read: where the feed is in memory, most never are."""

    __slots__ = ("_about", "_json", "_own")

    def __init__(self, about: _About, fact: Fact) -> None:
        self._about = about
        # Not the fact: its data may be a result of a megabyte.
        shown = {name: value for name, value in fact.data.items() if name in _SHOWN}
        self._own = (fact.seq, fact.type, fact.node, fact.at, shown)
        self._json: bytes | None = None

    def __bytes__(self) -> bytes:
        if self._json is None:
            seq, type, node, at, shown = self._own
            own = {"seq": seq, "type": type, "node": node, "at": at, **shown}
            self._json = self._about.beginning() + orjson.dumps(own)[1:]
        return self._json
