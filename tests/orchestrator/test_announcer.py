"""What is told of a run's facts: as it was when they became durable, and no more than a reader needs."""

from __future__ import annotations

import orjson

from orchestrator.announcer import Announcer, answers_feed
from orchestrator.facts import Fact
from orchestrator.happenings import StartRequested
from orchestrator.run import Run
from store.live.feeds import workspace_feed
from store.live.memory import MemoryLive


def a_run() -> Run:
    return Run("r1", 3, "acme", "ride", 1, "k1", "c1", {}, "", "s1", 1.0, 1.0, answer_to="gateway-1")


async def told(live: MemoryLive, feed: str) -> list[dict[str, object]]:
    return [orjson.loads(data) for _, data in await live.read(feed, None)]


async def test_a_fact_is_told_as_the_run_was_then() -> None:
    """The entry is written out when somebody reads it; the run, and what it holds, has gone on by then."""
    live, run = MemoryLive(), a_run()
    announcer = Announcer(live)
    facts = [
        Fact(1, "run_started", None, 1.0),
        Fact(2, "step_finished", "pay", 2.0, {"attempt": 1, "result": {"big": "x" * 100_000}}),
    ]
    announcer.facts(run, facts)
    run.status = "completed"
    facts[1].data["attempt"] = 9
    await announcer.stop()
    common = {
        "kind": "fact",
        "correlation": "c1",
        "run": "r1",
        "flow": "ride",
        "key": "k1",
        "status": "running",
    }
    assert await told(live, workspace_feed("acme")) == [
        {**common, "seq": 1, "type": "run_started", "node": None, "at": 1.0},
        {**common, "seq": 2, "type": "step_finished", "node": "pay", "at": 2.0, "attempt": 1},
    ]


async def test_whoever_asked_for_a_run_is_told_of_its_start_and_its_end() -> None:
    """On the feed of that process; other facts are on the workspace's only."""
    live, run = MemoryLive(), a_run()
    announcer = Announcer(live)
    asked = StartRequested("s1", "r1", 3, "acme", "ride", 1, "k1", {}, "", "c1", answer_to="gateway-1")
    announcer.answer(asked, "created")
    announcer.facts(run, [Fact(1, "run_started", None, 1.0)])
    run.status = "completed"
    announcer.facts(run, [Fact(2, "run_completed", None, 2.0)])
    await announcer.stop()
    assert await told(live, answers_feed("gateway-1")) == [
        {"start_id": "s1", "run_id": "r1", "outcome": "created"},
        {"ended": "r1", "status": "completed"},
    ]


async def test_whoever_asks_again_after_the_end_is_told_of_it() -> None:
    """Their gateway is another one, perhaps; of a run that goes on nothing is said."""
    live, run = MemoryLive(), a_run()
    announcer = Announcer(live)
    again = StartRequested("s1", "r1", 3, "acme", "ride", 1, "k1", {}, "", "c1", answer_to="gateway-2")
    announcer.answer(again, "created", run)
    run.status, run.ended_at = "completed", 2.0
    announcer.answer(again, "created", run)
    await announcer.stop()
    assert await told(live, answers_feed("gateway-2")) == [
        {"start_id": "s1", "run_id": "r1", "outcome": "created"},
        {"start_id": "s1", "run_id": "r1", "outcome": "created"},
        {"ended": "r1", "status": "completed"},
    ]
