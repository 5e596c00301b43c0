"""What a run does next: one sentence after the other, as a table would have it."""

from __future__ import annotations

import pytest

from contracts.errors import ContractViolation, Violation
from contracts.retry import Retry
from orchestrator.flow import run_id_of
from orchestrator.happenings import EventArrived, StepFailed, StepFinished, TimerFired
from orchestrator.nodes import Step, call, emit, parallel, sleep, wait, when
from tests.orchestrator.flows import ONCE, flow, here, remote, remote_undoable, trip, undoable
from tests.orchestrator.pretending import START, Pretended, asked


def test_steps_run_in_strict_order_and_the_result_is_read_from_the_run() -> None:
    """Each step starts in the commit that records the end of the one before."""
    run = Pretended(flow(here("a"), here("b"), result={"a": "$.a.n", "of": "$.run.key"}))
    assert set(run.orders) == {"a"}
    assert run.finish("a", {"n": 1}) == ["step_completed", "step_scheduled"]
    assert run.run.active.keys() == {"b"}
    assert run.finish("b") == ["step_completed", "run_completed"]
    assert run.run.result == {"a": 1, "of": "k1"}


def test_an_attempt_that_fails_is_made_again_after_its_delay() -> None:
    """Backoff is a durable timer; the attempt after it has the next number."""
    run = Pretended(flow(here("a", retry=Retry(attempts=3, first=2, factor=3, jitter=0))))
    run.break_off("a")
    assert run.timers == {"a": START + 2}
    assert run.tick() == ["step_scheduled"]
    run.break_off("a")
    assert run.timers == {"a": START + 2 + 6}
    run.tick()
    assert run.orders["a"].attempt == 3
    assert run.break_off("a") == ["step_failed", "compensation_started", "run_failed"]


def test_what_a_service_asks_to_wait_is_waited() -> None:
    """``retry_after`` is a floor under the delay, and nonsense in it is none."""
    run = Pretended(flow(remote("a", retry=Retry(first=1, jitter=0))))
    run.break_off("a", after=90)
    assert run.timers == {"a": START + 90}
    run.tick()
    run.break_off("a", after=float("inf"))
    assert run.timers == {"a": START + 92}


def test_a_definite_no_is_not_tried_again() -> None:
    """Terminal ends the step at once."""
    run = Pretended(flow(undoable("a"), undoable("b")))
    run.finish("a")
    assert run.refuse("b", "sold_out") == ["step_failed", "compensation_started", "compensation_scheduled"]
    assert run.finish("a") == ["compensation_completed", "run_compensated"]
    assert run.run.error == {"code": "sold_out", "message": "sold_out", "node": "b"}


def test_a_reply_that_does_not_come_is_a_timeout() -> None:
    """A command has a timer; when it fires the attempt has failed and its outcome is unknown."""
    run = Pretended(flow(remote_undoable("a", timeout=5, retry=ONCE)))
    assert run.timers == {"a": START + 5}
    assert run.tick() == ["step_failed", "compensation_started", "compensation_scheduled"]
    assert [command.type for command in run.commands] == ["bank.a.v1", "bank.una.v1"]
    assert [command.back for command in run.commands] == [False, True]


def test_a_service_that_has_done_it_is_believed_whatever_the_attempt() -> None:
    """A command is done once, so a late "done" of an earlier attempt counts, also during the backoff."""
    run = Pretended(flow(remote("a", timeout=5)))
    run.tick()
    assert run.happen(StepFinished("a", 1, {"ok": 1})) == ["step_completed", "run_completed"]


def test_an_event_ends_its_wait_and_is_its_result() -> None:
    """The timer of the wait goes with it."""
    run = Pretended(flow(wait("x.done.v1", by="id", timeout=60, name="w"), result={"n": "$.w.n"}))
    assert run.timers == {"w": START + 60}
    assert run.event("y.done.v1") == []
    assert run.event("x.done.v1", {"n": 7}) == ["event_received", "run_completed"]
    assert run.run.result == {"n": 7}


def test_a_wait_that_times_out_fails_the_run() -> None:
    """Nothing came in time."""
    run = Pretended(flow(wait("x.done.v1", by="id", timeout=60, name="w")))
    assert run.tick() == ["wait_timed_out", "compensation_started", "run_failed"]
    assert run.run.error is not None
    assert run.run.error["code"] == "wait_timed_out"


def test_a_signal_is_waited_for_like_an_event() -> None:
    """By name."""
    run = Pretended(flow(wait(signal="approved")))
    assert run.signal("other") == []
    assert run.signal("approved", {"by": "ann"}) == ["signal_received", "run_completed"]


def test_sleep_is_a_timer() -> None:
    """Too early is ignored."""
    run = Pretended(flow(sleep("1h", name="nap")))
    assert run.happen(TimerFired("nap")) == []
    assert run.timers == {"nap": START + 3600}
    assert run.tick() == ["timer_fired", "run_completed"]


@pytest.mark.parametrize(("rich", "did"), [(True, ["a"]), (False, ["b"])])
def test_a_choice_by_schema(rich: bool, did: list[str]) -> None:
    """A JSON Schema over input and results."""
    schema = {"properties": {"input": {"properties": {"rich": {"const": True}}, "required": ["rich"]}}}
    made = flow(when(schema, [here("a")], [here("b")]))
    run = Pretended(made, asked(made, {"id": "k1", "rich": rich}))
    assert list(run.orders) == did


def test_a_choice_without_the_other_way_goes_straight_on() -> None:
    """Nothing to do is something too."""
    run = Pretended(flow(when(lambda document: False, [here("a")], name="c"), here("b")))
    assert list(run.orders) == ["b"]
    assert run.of("choice_taken")[0].data == {"branch": "otherwise"}


def test_a_condition_that_raises_fails_the_run_and_not_the_engine() -> None:
    """In a branch too: the branch has not ended by it."""
    broken = when(lambda document: document["nothing"], [here("a")], name="c")
    run = Pretended(flow(here("p", pivot=True), parallel([broken], [here("b")])))
    run.finish("p")
    assert run.run.status == "stuck"
    assert "branch_ended" not in run.types()
    run.finish("b")
    assert not run.run.ended


def test_all_branches_are_joined() -> None:
    """The last to end goes on."""
    run = Pretended(flow(parallel([here("a")], [here("b"), here("c")]), here("d")))
    assert set(run.orders) == {"a", "b"}
    run.finish("a")
    run.finish("b")
    assert run.finish("c") == ["step_completed", "branch_ended", "branches_joined", "step_scheduled"]


def test_the_first_branch_goes_on_without_the_others() -> None:
    """What the others have at work is stopped, and their late results count no more."""
    run = Pretended(flow(parallel([here("a")], [remote("b")], mode="first"), here("d")))
    late = run.outcome("b", result=1)
    run.finish("a")
    assert set(run.run.active) == {"d"}
    assert run.timers == {}
    assert run.happen(late) == []


def test_forks_in_forks_join_outwards() -> None:
    """Also where a branch ends with a fork, and where a choice ends a branch."""
    inner = parallel([here("a")], [when(lambda document: True, [here("b")], name="c")], name="inner")
    run = Pretended(flow(parallel([inner], [emit("x.said.v1", {})], name="outer")))
    run.finish("b")
    assert run.finish("a")[-4:] == ["branches_joined", "branch_ended", "branches_joined", "run_completed"]


def test_an_emitted_event_keeps_its_id_and_is_filled_from_the_run() -> None:
    """The id comes from the run and the node."""
    made = flow(emit("x.said.v1", {"id": "$.input.id", "deep": [{"key": "$.run.key"}], "text": "$$.x"}))
    one, other = Pretended(made), Pretended(made)
    assert one.emitted()[0].data == {"id": "k1", "deep": [{"key": "k1"}], "text": "$.x"}
    assert one.emitted()[0].event_id == other.emitted()[0].event_id


def test_an_event_off_contract_is_not_published() -> None:
    """The run fails with the reason instead."""

    def check(type: str, data: object) -> None:
        raise ContractViolation(type, [Violation("/id", "a number", "'k1'")])

    run = Pretended(flow(emit("x.said.v1", {})), check=check)
    assert run.emitted() == []
    assert run.run.error is not None
    assert run.run.error["code"] == "off_contract"


def test_a_result_off_contract_is_undone_since_the_work_was_done() -> None:
    """The outcome is known, only unusable."""

    def check(type: str, data: object) -> None:
        if type == "a.done.v1":
            raise ContractViolation(type, [Violation("/n", "a number", "'k1'")])

    run = Pretended(flow(undoable("a", result="a.done.v1")), check=check)
    assert run.finish("a", {})[-1] == "compensation_scheduled"


@pytest.mark.parametrize(
    ("node", "fact"),
    [(remote("a", result="a.done.v1"), "run_completed"), (here("a", result="a.done.v1"), "run_failed")],
)
def test_a_result_that_can_be_read_is_taken_of_a_service(node: Step, fact: str) -> None:
    """Which may be of a newer release; what ran here is of this one, and is held to what it declares."""

    def check(type: str, data: object) -> None:
        if type == "a.done.v1":
            raise ContractViolation(type, [Violation("/more", "no such property", "1")])

    run = Pretended(flow(node), check=check)
    assert run.finish("a", {"more": 1})[-1] == fact


def test_a_child_run_is_called_and_its_result_taken() -> None:
    """The child's id comes from its key, so that a repeat calls the same."""
    child = flow(here("x"), name="child")
    run = Pretended(
        flow(call("child", {"id": "$.input.id"}, name="sub"), result={"n": "$.sub.n"}),
        flow=lambda name, version: child,
    )
    assert run.started()[0].run_id == run_id_of("acme", "child", "k1")
    assert run.child_ends("sub", result={"n": 3}) == ["child_ended", "run_completed"]
    assert run.run.result == {"n": 3}


@pytest.mark.parametrize("given", [{}, {"id": None}, {"id": ""}, {"id": {}}])
def test_a_child_without_a_key_fails_its_parent_and_not_the_engine(given: dict[str, object]) -> None:
    """A start that can't be made is the run's own trouble."""
    run = Pretended(flow(call("child", given)), flow=lambda name, version: flow(here("x"), name="child"))
    assert run.run.status == "failed"
    assert run.run.error is not None
    assert run.run.error["code"] == "missing_key"


def test_what_a_run_does_not_need_any_more_is_cancelled_with_it() -> None:
    """A child goes back with its parent; it is told by whom, so that it can tell whether it is its parent."""
    run = Pretended(
        flow(call("child", {"id": "1"})), flow=lambda name, version: flow(here("x"), name="child")
    )
    run.cancel()
    assert [cancel.run_id for cancel in run.cancelled()] == [run_id_of("acme", "child", "1")]


def test_a_trip_goes_all_the_way() -> None:
    """Everything together."""
    run = Pretended(trip())
    for node in ("quote", "match", "authorize", "go"):
        run.finish(node, {"did": node})
    run.event("trip.over.v1", {"id": "k1"})
    run.finish("capture")
    assert run.run.status == "completed"
    assert run.run.result == {"did": "quote"}
    assert [event.type for event in run.emitted()] == ["trip.booked.v1"]


def test_what_happens_to_an_ended_run_changes_nothing() -> None:
    """No facts, no effects."""
    run = Pretended(flow(here("a")))
    late = StepFailed("a", 1, "x", "x", False, None, 1)
    run.finish("a")
    before = len(run.effects)
    for happening in (late, TimerFired("a"), EventArrived("e", "x.v1", {})):
        assert run.happen(happening) == []
    assert run.cancel() == run.pause() == run.resume() == run.lose_owner() == []
    assert len(run.effects) == before
