"""One batch: many happenings, one commit, and only the effects that still matter after all of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import orjson
import pytest

from bus.envelope import event_of
from contracts.envelope import Event
from contracts.errors import MalformedMessage
from orchestrator import wire
from orchestrator.batch import Batch
from orchestrator.catalog import Catalog
from orchestrator.flow import Flow
from orchestrator.happenings import CancelRequested, EventArrived, StepFinished, TimerFired
from orchestrator.journal import Commit
from orchestrator.nodes import call, emit, step, wait
from orchestrator.run import Run
from tests.orchestrator.flows import flow, here, undoable
from tests.orchestrator.pretending import asked, rules

CANCEL = CancelRequested("c1", "not wanted", "ann")


def batch_of(*flows: Flow, runs: dict[str, Run] | None = None, now: float = 1.0, **more: Any) -> Batch:
    positions = itertools.count()
    catalog = Catalog(flows)
    return Batch(
        partition=0,
        partitions=4,
        commit=Commit(0, 1, "c1"),
        runs={} if runs is None else runs,
        catalog=catalog,
        rules=rules(flow=catalog.find),
        now=now,
        next_position=lambda: next(positions),
        **more,
    )


def test_a_step_that_is_cancelled_in_the_batch_that_ordered_it_is_not_started() -> None:
    """It would else run beside its own compensation."""
    made = flow(here("a"), undoable("b"))
    start = asked(made)
    first = batch_of(made)
    first.take(start.run_id, start)
    batch = batch_of(made, runs=first.runs)
    batch.take(start.run_id, StepFinished("a", 1, None, 1))
    batch.take(start.run_id, CANCEL)
    assert [(order.node, order.back) for _, _, order in batch.dispatches] == [("b", True)]


def test_a_parent_s_cancel_of_a_run_that_is_not_there_waits_for_a_while() -> None:
    """For its start may be on its way; a person's does not wait, and neither does an old one."""
    batch = batch_of(flow(here("a")), now=1_000.0)
    assert not batch.take("r", replace(CANCEL, parent="p", asked_at=900.0))
    assert batch.take("r", replace(CANCEL, parent="p", asked_at=1.0))
    assert batch.take("r", replace(CANCEL, asked_at=900.0))


def test_facts_of_one_batch_have_no_gaps() -> None:
    """They are one history, whatever number of happenings they came from."""
    made = flow(here("a"), here("b"), emit("x.said.v1", {}))
    start = asked(made)
    batch = batch_of(made)
    for happening in (start, StepFinished("a", 1, None, 1), StepFinished("b", 1, None, 1)):
        batch.take(start.run_id, happening)
    (change,) = batch.finish().changes
    assert change.created
    assert [fact.seq for fact in change.facts] == list(range(1, len(change.facts) + 1))
    assert change.run.status == "completed"


def test_a_repeat_of_an_early_event_in_the_batch_of_its_start_counts_once() -> None:
    """Before the start, after it, and in a later batch by its mark."""
    made = flow(here("a"), wait("x.done.v1", by="id", name="w"))
    start, event = asked(made), EventArrived("e1", "x.done.v1", 1)
    for order in ([event, start, event], [start, event]):
        known = {start.run_id: [event]} if order[0] is start else {}
        batch = batch_of(made, early=known)
        for happening in order:
            batch.take(start.run_id, happening)
        (change,) = batch.finish().changes
        assert [fact.type for fact in change.facts].count("event_kept") == 1
        assert change.taken == change.marks == ["e1"]


def test_a_timer_that_fired_too_early_keeps_its_row() -> None:
    """It was moved: the row is what will wake the run."""
    made = flow(step("a", at="bank", command="bank.a.v1", data={}, timeout=50))
    start = asked(made)
    first = batch_of(made)
    first.take(start.run_id, start)
    assert first.finish().changes[0].timers == {"a": 51.0}
    early = batch_of(made, runs=first.runs, now=20.0)
    early.take(start.run_id, TimerFired("a"))
    assert early.finish().changes == []
    late = batch_of(made, runs=first.runs, now=51.0)
    late.take(start.run_id, TimerFired("a"))
    assert late.finish().changes[0].timers["a"] is not None  # the retry's


def test_a_run_of_a_version_that_is_not_here_waits() -> None:
    """Nothing is decided with the wrong code, and nothing is lost."""
    old, new = flow(here("a")), flow(here("b"), version=2)
    start = asked(old)
    batch = batch_of(old)
    batch.take(start.run_id, start)
    other = batch_of(new, runs=batch.runs)
    assert not other.take(start.run_id, CANCEL)
    assert not batch_of(new).take(start.run_id, start)
    assert other.finish().changes == []


def test_a_second_start_of_a_child_is_answered_so_that_no_parent_waits_for_ever() -> None:
    """Its own parent again after the end: how it ended. Another parent: that the key is taken."""
    child = flow(here("x"), name="child")
    parent = {"run_id": "p", "node": "n", "partition": 2}
    start = asked(child, parent=parent)
    batch = batch_of(child)
    batch.take(start.run_id, start)
    batch.take(start.run_id, start)
    assert batch.changes[start.run_id].posts == []  # it is answered at its end
    batch.take(start.run_id, StepFinished("x", 1, {"n": 1}, 1))
    batch.take(start.run_id, start)
    batch.take(start.run_id, asked(child, parent={**parent, "node": "m"}))
    posts = batch.changes[start.run_id].posts
    told = [orjson.loads(post.outgoing.message.body) for post in posts]
    assert [(each["node"], each["status"]) for each in told] == [
        ("n", "completed"),
        ("n", "completed"),
        ("m", "failed"),
    ]
    assert len({post.outgoing.message.id for post in posts}) == 3


def test_a_parent_that_the_store_s_growth_has_moved_asks_for_its_own_child() -> None:
    """Its partition is another than when it called; the call is the same."""
    child = flow(here("x"), name="child")
    parent = {"run_id": "p", "node": "n", "partition": 2}
    start = asked(child, parent=parent)
    batch = batch_of(child)
    batch.take(start.run_id, start)
    batch.take(start.run_id, asked(child, parent={**parent, "partition": 6}))
    assert batch.changes[start.run_id].posts == []  # it is answered at its end


def test_early_events_of_one_batch_are_read_back_in_their_order() -> None:
    """They are sorted by when they came, and those of one moment by what their ids happen to be."""
    batch = batch_of(flow(wait("x.done.v1", by="id", name="w")), now=1.8e9)
    ids = ["c", "a", "b"]
    for id in ids:
        assert batch.take("r", EventArrived(id, "x.done.v1", id))
    rows = sorted(batch.finish().early, key=lambda row: (row["at"], row["message_id"]))
    assert [row["message_id"] for row in rows] == ids


def test_a_parent_cancels_its_own_child_and_no_other_s() -> None:
    """The cancel says whose it is."""
    child = flow(here("x"), name="child")
    made = flow(call("child", {"id": "$.input.id"}))
    start = asked(made)
    batch = batch_of(made, child)
    batch.take(start.run_id, start)
    batch.take(start.run_id, CANCEL)
    post = batch.changes[start.run_id].posts[-1].outgoing
    ((child_id, happening),) = wire.read(event_of(post.message), 0)
    assert isinstance(happening, CancelRequested)
    for parent, status in ((start.run_id, "cancelled"), ("another", "running")):
        own = asked(child, run_id=child_id, parent={"run_id": parent, "node": "child", "partition": 0})
        there = batch_of(child)
        there.take(child_id, own)
        there.take(child_id, happening)
        assert there.runs[child_id].status == status


def test_a_reply_s_wait_must_be_a_number() -> None:
    """A service that asks to be left alone until "tomorrow" is malformed, not an engine's error."""
    data = {"outcome": "failed", "error": {"code": "c", "message": "m"}, "retry_after": "tomorrow"}
    event = Event.create(
        "antiphon.reply.v1",
        data,
        id="1",
        source="/s",
        at=1.0,
        workspace="acme",
        extensions={"runid": "r", "node": "n", "attempt": "1"},
    )
    with pytest.raises(MalformedMessage, match="tomorrow"):
        wire.read(event, 0)
