"""What is doubted about a run, what is done about it, and where a run goes on that has nothing at work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.decide import decide
from orchestrator.doubts import REASONS, Child, Doubt, QuietRun, doubts_about, repair_of
from orchestrator.effects import SendCommand, SetTimer, StartRun
from orchestrator.happenings import Reconciled, RetryRequested
from orchestrator.nodes import Node, call, emit, parallel, sleep, wait, when
from orchestrator.repairs import gaps
from orchestrator.run import Run
from tests.orchestrator.flows import flow, here, remote, undoable
from tests.orchestrator.pretending import Pretended, rules

HERE = {"kind": "step", "here": True, "dispatch": 2}
AGAIN = {**HERE, "retry_at": 9.0}
CALL = {"kind": "call", "child": "c"}


def quiet(entry: dict[str, Any] | None = None, **more: Any) -> QuietRun:
    """A run with this at work as node ``a``."""
    return replace(QuietRun("r", "acme", "f", 1, "k", 1.0, {"a": entry} if entry else {}), **more)


def child(parent: str | None = "r", ended_at: float | None = None) -> dict[str, Child]:
    return {"c": Child(parent, ended_at)}


@pytest.mark.parametrize(
    ("run", "doubts"),
    [
        (quiet(HERE), [Doubt("work_lost", "a", dispatch=2)]),
        (quiet(AGAIN, timers={"a": 9.0}), []),
        (quiet(AGAIN), [Doubt("timer_lost", "a", due=9.0)]),
        (quiet(AGAIN, timers={"a": 10.0}), [Doubt("timer_lost", "a", due=9.0)]),
        (quiet(AGAIN, paused=True), []),
        (quiet({"kind": "step", "due": 9.0}, timers={"b": 9.0}), [Doubt("timer_lost", "a", due=9.0)]),
        (quiet({"kind": "step", "service": "bank"}), [Doubt("command_lost", "a")]),
        (quiet({"kind": "compensation", "service": "bank"}), [Doubt("command_lost", "a")]),
        (quiet({"kind": "wait", "type": "t"}), []),
        (quiet({"kind": "wait", "type": "t", "due": 9.0}, timers={"a": 9.0}), []),
        (quiet({"kind": "sleep", "due": 9.0}), [Doubt("timer_lost", "a", due=9.0)]),
        (quiet({"kind": "sleep"}), [Doubt("unknown_wait", "a")]),
        (quiet(CALL, children=child()), []),
        (quiet(CALL), [Doubt("child_lost", "a")]),
        (quiet(CALL, children=child(ended_at=4.0)), [Doubt("child_answer_lost", "a")]),
        (quiet(CALL, children=child(ended_at=6.0)), []),  # its answer may be under way
        (quiet(CALL, children=child(parent="x")), [Doubt("child_answer_lost", "a")]),
        (quiet({**HERE, "stuck": {"code": "x"}}), []),
        (quiet(), [Doubt("nothing_to_wait_for")]),
        (quiet(paused=True), []),
        (quiet(HERE, odd="no JSON"), [Doubt("unreadable")]),
        (quiet(HERE, version=2), [Doubt("flow_version_missing")]),
    ],
)
def test_each_reason_to_wait_is_proved(run: QuietRun, doubts: list[Doubt]) -> None:
    """Nothing is in hand here, and version 1 is the only one that there is."""
    found = doubts_about(run, lambda run_id, node: False, lambda flow, version: version == 1, before=5.0)
    assert found == doubts
    assert all(REASONS[doubt.reason] in str(doubt) for doubt in found)


def test_what_is_in_hand_is_proved() -> None:
    """By the executor, which knows run and node."""
    assert doubts_about(quiet(HERE), lambda *of: of == ("r", "a"), lambda *of: True, before=5.0) == []


def test_only_what_can_be_repaired_is() -> None:
    """A row that can't be read and code that is not here are listed; nothing else can be done about them."""
    assert repair_of([Doubt("unreadable")]) is None
    assert repair_of([Doubt("flow_version_missing"), Doubt("unknown_wait", "a")]) is None
    both = [Doubt("timer_lost", "a", due=9.0), Doubt("child_lost", "b")]
    assert repair_of(both) == Reconciled(timers=(("a", 9.0),), asks=(("b", "child_lost"),))


# --- repairs leave facts ------------------------------------------------------------------------


def test_a_timer_is_set_again_with_a_fact_unless_it_was_moved() -> None:
    """It is decided later than it was found: only what is still so counts."""
    run = Pretended(flow(sleep("13s", name="nap")))
    due = run.timers.pop("nap")
    assert run.happen(Reconciled(timers=(("nap", due),))) == ["run_repaired"]
    assert (run.facts[-1].node, run.facts[-1].data) == ("nap", {"reason": "timer_lost"})
    assert run.timers == {"nap": due}
    assert run.happen(Reconciled(timers=(("nap", due - 1),))) == []


def test_a_paused_run_whose_retry_comes_due_is_left_alone() -> None:
    """Its timer has fired, and its row is gone: resuming sets it again, and nobody else does."""
    run = Pretended(flow(here("a")))
    run.break_off("a")
    run.pause()
    assert run.tick() == []
    assert run.timers == {}
    assert run.doubts() == []
    due = run.run.active["a"]["retry_at"]
    assert run.happen(Reconciled(timers=(("a", due),))) == []
    run.resume()
    assert run.tick() == ["step_scheduled"]


def test_lost_work_is_started_again_with_a_fact() -> None:
    run = Pretended(flow(here("a")))
    assert run.mislay("a") == ["run_repaired", "step_scheduled"]
    assert run.happen(Reconciled(lost=(("a", 1),))) == []  # an older dispatch: somebody works on it by now


def test_a_service_that_can_not_answer_any_more_is_asked_again() -> None:
    """A step with neither reply nor timeout to come: the same command, which a service does once."""
    run = Pretended(flow(remote("a")))
    state = run.run.copy()
    del state.active["a"]["due"]
    happening = Reconciled(asks=(("a", "command_lost"),))
    decision = decide(state, run.flow, happening, now=run.now, rules=run.rules)
    assert [fact.type for fact in decision.facts] == ["run_repaired", "step_scheduled"]
    sent = [effect for effect in decision.effects if isinstance(effect, SendCommand)]
    assert sent == run.commands
    assert any(isinstance(effect, SetTimer) for effect in decision.effects)
    assert run.happen(happening) == []  # this one has its timer


def test_a_child_is_asked_for_again_as_the_same_run() -> None:
    """Whether it is missing or its answer is: who has it answers, and who has not begins it."""
    sub = flow(here("x"), name="sub")
    run = Pretended(flow(call("sub", input={"id": "$.input.id"}, name="c")), flow=lambda *of: sub)
    assert run.happen(Reconciled(asks=(("c", "child_lost"),))) == ["run_repaired"]
    (before, again) = run.started()
    assert before == again
    run.child_ends("c")
    assert run.happen(Reconciled(asks=(("c", "child_answer_lost"),))) == []


def test_a_child_that_would_be_another_by_now_is_an_incident() -> None:
    """The flow was changed in place, say: two children would do the work twice."""
    sub = flow(here("x"), name="sub")
    run = Pretended(flow(call("sub", input={"id": "$.input.id"}, name="c")), flow=lambda *of: sub)
    other = flow(call("sub", input={"id": "$.run.id"}, name="c"))
    decision = decide(run.run, other, Reconciled(asks=(("c", "child_lost"),)), now=run.now, rules=run.rules)
    assert [fact.type for fact in decision.facts] == ["incident_raised"]
    assert not [effect for effect in decision.effects if isinstance(effect, StartRun)]


# --- nothing to wait for ------------------------------------------------------------------------


def emptied(nodes: list[Node], *, results: dict[str, Any], **state: Any) -> Run:
    """A run of such a flow that has done this much, and has nothing at work."""
    run = Pretended(flow(*nodes), flow=lambda *of: None).run.copy()
    run.active.clear()
    run.results.update(results)
    for name, value in state.items():
        setattr(run, name, value)
    return run


FORK = [here("a"), parallel([here("b"), here("c")], [here("d")], name="fork"), here("e")]
CHOICE = [here("a"), when(lambda document: True, [here("b")], [here("c")], name="choice"), here("e")]
INNER = parallel([here("c")], [here("d")], name="inner")
NESTED = [parallel([here("a")], [here("b"), INNER], name="fork"), here("e")]


@pytest.mark.parametrize(
    ("nodes", "run", "found"),
    [
        ([here("a"), here("b")], {"results": {}}, [("a", False)]),
        ([here("a"), here("b")], {"results": {"a": 1}}, [("a", True)]),
        ([here("a"), here("b")], {"results": {"a": 1, "b": None}}, [("b", True)]),
        (FORK, {"results": {"a": 1}, "arrived": {"fork": []}}, [("b", False), ("d", False)]),
        (FORK, {"results": {"a": 1, "b": 1}, "arrived": {"fork": []}}, [("b", True), ("d", False)]),
        (FORK, {"results": {"a": 1, "d": 1}, "arrived": {"fork": [1]}}, [("b", False)]),
        (FORK, {"results": {"a": 1, "b": 1, "c": 1, "d": 1}}, [("fork", True)]),
        (FORK, {"results": {"a": 1, "d": 1}, "arrived": {"fork": [0, 1]}}, [("fork", True)]),
        (CHOICE, {"results": {"a": 1}}, [("a", True)]),
        (CHOICE, {"results": {"a": 1, "c": 1}}, [("c", True)]),
        (
            NESTED,
            {"results": {"a": 1, "b": 1, "d": 1}, "arrived": {"fork": [0], "inner": [1]}},
            [("c", False)],
        ),
    ],
)
def test_where_a_run_stands_with_nothing_at_work(
    nodes: list[Node], run: dict[str, Any], found: list[tuple[str, bool]]
) -> None:
    """Behind what is done, in each branch that is open."""
    assert gaps(flow(*nodes).plan, emptied(nodes, **run)) == found


def go_on(nodes: list[Node], run: Run) -> tuple[list[str], Run]:
    """List it as stuck, then retry it: the new facts of the retry, and the run."""
    made = flow(*nodes)
    listed = decide(run, made, Reconciled(nothing=True), now=2.0, rules=rules())
    assert listed.run.status == "stuck"
    assert {fact.data["error"]["code"] for fact in listed.facts} == {"nothing_to_wait_for"}
    asked = RetryRequested("t1", "again", "ann")
    retried = decide(listed.run, made, asked, now=3.0, rules=rules())
    return [f"{fact.type} {fact.node}" for fact in retried.facts if "incident" not in fact.type], retried.run


def test_a_retry_goes_on_behind_what_is_done() -> None:
    """A run that lost its way is not begun again: nothing that has a result is repeated."""
    said, done = emit("x.said.v1", {"id": "$.input.id"}, name="said"), wait("x.done.v1", by="id", name="w")
    nodes: list[Node] = [here("a"), here("b"), said, done]
    facts, _ = go_on(nodes, emptied(nodes, results={"a": 1}))
    assert facts == ["step_scheduled b"]
    facts, _ = go_on(nodes, emptied(nodes, results={"a": 1, "b": 1}))
    assert facts == ["event_emitted said", "wait_started w"]
    facts, run = go_on(nodes, emptied(nodes, results={"a": 1, "b": 1, "w": {}}))
    assert facts == ["run_completed None"]
    assert run.status == "completed"


def test_a_retry_goes_on_in_each_open_branch() -> None:
    facts, _ = go_on(FORK, emptied(FORK, results={"a": 1, "b": 1}, arrived={"fork": []}))
    assert facts == ["step_scheduled c", "step_scheduled d"]
    facts, _ = go_on(FORK, emptied(FORK, results={"a": 1, "d": 1}, arrived={"fork": [0, 1]}))
    assert facts == ["step_scheduled e"]


def test_a_retry_on_the_way_back_undoes_the_next_step() -> None:
    """And ends the run when all is undone."""
    nodes: list[Node] = [undoable("a"), undoable("b")]
    error = {"code": "no", "message": "no", "node": "b"}
    facts, _ = go_on(nodes, emptied(nodes, results={"a": 1}, undo=["a"], backward="failed", error=error))
    assert facts == ["compensation_scheduled a"]
    facts, run = go_on(
        nodes, emptied(nodes, results={"a": 1}, undo=[], undone=1, backward="failed", error=error)
    )
    assert facts == ["run_compensated None"]
    assert run.ended


def test_nodes_that_nobody_holds_any_more_are_listed() -> None:
    """Held back by a pause that is over: no fact leads there, and a retry starts them."""
    nodes: list[Node] = [here("a"), here("b")]
    facts, run = go_on(nodes, emptied(nodes, results={"a": 1}, held=["b"]))
    assert facts == ["step_scheduled b"]
    assert run.held == []
