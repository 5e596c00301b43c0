"""The traps of orchestration that a decision could fall into, each by its number in the design's list."""

from __future__ import annotations

import pytest

from contracts.retry import Retry
from orchestrator.effects import ForwardEvent
from orchestrator.happenings import EventArrived, TurnCame
from orchestrator.nodes import emit, parallel, sleep, wait
from tests.orchestrator.flows import ONCE, flow, here, remote, remote_undoable, undoable
from tests.orchestrator.pretending import Pretended, asked

AWAIT = wait("x.done.v1", by="id", name="w")


# --- 2: a zombie's late completion ------------------------------------------------------------


def test_what_an_older_dispatch_returns_counts_no_more() -> None:
    """The process that was thought dead reports after its step was started elsewhere."""
    run = Pretended(flow(here("a")))
    zombie = run.outcome("a", result="old")
    run.lose_owner()
    assert run.happen(zombie) == []
    run.finish("a", "new")
    assert run.run.results == {"a": "new"}


def test_a_late_failure_is_not_the_next_attempt_s() -> None:
    """Attempt one's refusal arrives during attempt two."""
    run = Pretended(flow(remote("a", timeout=5)))
    late = run.outcome("a", code="no", definite=True)
    run.tick()
    assert run.happen(late) == []
    run.tick()
    assert run.happen(late) == []
    assert run.run.active["a"]["attempt"] == 2


# --- 6: the event comes early -----------------------------------------------------------------


def test_an_event_before_the_run_is_kept_in_the_commit_of_its_start() -> None:
    """And taken when the wait begins."""
    made = flow(here("a"), AWAIT)
    run = Pretended(made, asked(made, early=(EventArrived("e1", "x.done.v1", {"n": 1}),)))
    assert run.types() == ["run_started", "event_kept", "step_scheduled"]
    assert run.finish("a") == ["step_completed", "event_received", "run_completed"]


def test_an_event_before_its_wait_is_kept() -> None:
    """The oldest is taken first, and each by one wait."""
    run = Pretended(flow(here("a"), AWAIT, wait("x.done.v1", by="id", name="w2")))
    run.event("x.done.v1", 1)
    run.event("x.done.v1", 2)
    run.finish("a")
    assert run.run.results == {"a": None, "w": 1, "w2": 2}


def test_an_event_for_an_ended_run_goes_on_to_the_one_made_from_it() -> None:
    """It would else wait for what has come already."""
    run = Pretended(flow(AWAIT))
    run.cancel()
    run.retry()
    run.event("x.done.v1", 1, id="late")
    assert isinstance(run.effects[-1], ForwardEvent)


def test_more_early_events_than_can_be_kept_are_refused_and_harm_nobody() -> None:
    """What is at work goes on; the history says what was refused."""
    run = Pretended(flow(here("a"), AWAIT), most_kept=2)
    for _ in range(3):
        run.event("x.done.v1")
    assert run.types()[-1] == "event_refused"
    assert run.run.status == "running"
    run.finish("a")
    assert run.run.status == "completed"


def test_an_event_too_large_to_keep_is_refused() -> None:
    """Trap 16 as well: the run's state is read and written with every commit."""
    run = Pretended(flow(here("a"), AWAIT), most_bytes=100)
    assert run.event("x.done.v1", "y" * 200) == ["event_refused"]


def test_more_early_events_than_can_be_kept_do_not_lose_the_start() -> None:
    """The run begins all the same."""
    made = flow(here("a"), AWAIT)
    early = tuple(EventArrived(f"e{n}", "x.done.v1", n) for n in range(3))
    run = Pretended(made, asked(made, early=early), most_kept=2)
    assert set(run.orders) == {"a"}


@pytest.mark.parametrize("when", ["undone", "ended"])
def test_what_comes_for_a_run_that_goes_back_is_for_the_one_made_from_it(when: str) -> None:
    """That one would else wait for what has come already."""
    run = Pretended(flow(undoable("a"), AWAIT))
    run.finish("a")
    run.cancel()
    if when == "ended":
        run.finish("a")
    assert run.run.ended is (when == "ended")
    assert run.event("x.done.v1", 1, id="late") == ["event_kept"]
    if when == "undone":
        run.finish("a")
    assert run.run.status == "cancelled"
    run.retry()
    forwarded = [effect for effect in run.effects if isinstance(effect, ForwardEvent)]
    assert [(effect.message_id, effect.data) for effect in forwarded] == [("late", 1)]


def test_what_comes_while_the_code_does_not_fit_the_run_is_kept() -> None:
    """A version was edited in place, which stops the run; deployed as it was, it has its event, or signal."""
    for awaited in (AWAIT, wait(signal="go", name="w")):
        made = flow(awaited)
        run = Pretended(made)
        run.flow = flow(here("new"), awaited)
        came = run.event("x.done.v1", 1) if awaited is AWAIT else run.signal("go", 1)
        assert came == ["event_kept", "incident_raised"]
        run.flow = made
        run.retry()
        assert run.run.results == {"w": 1}


def test_what_comes_for_a_completed_run_is_nobody_s() -> None:
    """All its waits have been given theirs, and what comes again and again must not grow it."""
    run = Pretended(flow(AWAIT))
    run.event("x.done.v1", 1)
    assert run.run.status == "completed"
    assert run.event("x.done.v1", 2) == []


# --- 9: waiting for what only the run itself could produce ------------------------------------


def test_a_step_of_an_abandoned_branch_is_not_started_after_a_pause() -> None:
    """The pause held it back; meanwhile another branch was first."""
    run = Pretended(flow(parallel([here("a")], [here("b"), here("c")], mode="first"), here("d")))
    run.pause()
    run.finish("b")
    run.finish("a")
    run.resume()
    assert set(run.run.active) == {"d"}


def test_what_a_pause_holds_back_in_a_branch_that_lost_does_not_keep_the_run_open() -> None:
    """The fork was the last thing to do."""
    run = Pretended(flow(parallel([here("a")], [here("b"), here("c")], mode="first")))
    run.pause()
    run.finish("b")
    assert run.finish("a")[-1] == "run_completed"


def test_a_branch_that_loses_at_the_end_of_a_pause_is_not_started() -> None:
    """Two were held; the first of them to start ended the fork."""
    branches = [[sleep(5, name="s"), emit("x.said.v1", {})], [sleep(6, name="t"), here("b")]]
    run = Pretended(flow(parallel(*branches, mode="first"), here("d")))
    run.pause()
    run.tick()
    run.tick()
    run.resume()
    assert set(run.run.active) == {"d"}


def test_a_retry_waits_for_the_end_of_the_pause_and_not_for_ever() -> None:
    """An attempt is something new, so a pause holds it back; resume starts it."""
    run = Pretended(flow(here("a", retry=Retry(first=1, jitter=0))))
    run.break_off("a")
    run.pause()
    assert run.tick() == []
    assert run.orders["a"].attempt == 1
    run.resume()
    assert run.tick() == ["step_scheduled"]


# --- 10: a poison run -------------------------------------------------------------------------


def test_a_step_that_takes_its_process_with_it_is_parked_with_the_reason() -> None:
    """Counted at the dispatch; retry starts the count anew."""
    run = Pretended(flow(here("a")), most_dispatches=3)
    run.lose_owner()
    run.lose_owner()
    assert run.orders["a"].dispatch == 3
    assert run.lose_owner() == ["incident_raised"]
    assert run.run.status == "stuck"
    assert "went away 3 times" in str(run.run.waiting())
    assert run.retry() == ["incident_resolved", "step_scheduled"]
    assert run.orders["a"].dispatch == 1


def test_what_only_stood_in_line_when_a_process_died_is_not_blamed() -> None:
    """Twice lost, a step starts when its turn comes, with fewer beside it each time; that alone counts."""
    run = Pretended(flow(parallel([here("poison")], [here("long")])))
    run.lose_owner()
    for share in (1, 10, 100):
        assert run.lose_owner(in_line=True) == []
        assert {node: (one.dispatch, one.share) for node, one in run.lines.items()} == {
            "poison": (run.run.active["poison"]["dispatch"], share), "long": (2, 1),
        }  # fmt: skip
        assert run.turn_came("poison") == ["step_scheduled"]
    assert run.orders["poison"].dispatch == 5
    assert run.lose_owner(in_line=True) == ["incident_raised"]
    assert run.turn_came("long") == ["step_scheduled"]
    assert run.orders["long"].dispatch == 3
    run.finish("long")
    assert "crashes_its_worker" in str(run.run.active["poison"]["stuck"])


def test_a_turn_that_comes_late_changes_nothing() -> None:
    """The run was cancelled meanwhile, or the step is at work again already."""
    run = Pretended(flow(here("a")))
    run.lose_owner()
    run.lose_owner()
    assert run.happen(TurnCame("a", 2)) == []
    assert run.happen(TurnCame("b", 2)) == []
    run.lose_owner(in_line=True)
    run.cancel()
    assert run.lines == {}
    assert run.happen(TurnCame("a", 3)) == []


def test_a_lost_owner_restarts_only_what_it_had_in_hand() -> None:
    """Not what is at a service, waits, sleeps, or waits for its next attempt."""
    run = Pretended(
        flow(parallel([here("a")], [remote("b")], [sleep(9, name="s")], [here("c")], [AWAIT]), here("d"))
    )
    run.break_off("c")
    assert run.lose_owner() == ["step_scheduled"]
    assert set(run.orders) == {"a"}


# --- 11: compensation -------------------------------------------------------------------------


def test_a_step_whose_outcome_is_unknown_is_undone_too() -> None:
    """It was registered before it started."""
    run = Pretended(flow(undoable("a"), undoable("b", retry=ONCE)))
    run.finish("a")
    run.break_off("b")
    run.finish("b")
    run.finish("a")
    assert run.types("compensation_completed") == ["compensation_completed b", "compensation_completed a"]


@pytest.mark.parametrize("lost", [True, False])
def test_a_refusal_after_an_unknown_attempt_is_undone_all_the_same(lost: bool) -> None:
    """What the first attempt did is not known, whatever the second was told."""
    run = Pretended(flow(undoable("a")))
    if lost:
        run.lose_owner()
    else:
        run.break_off("a")
        run.tick()
    assert run.refuse("a")[-1] == "compensation_scheduled"


def test_a_definite_no_at_the_first_attempt_is_not_undone() -> None:
    """It certainly had no effect."""
    run = Pretended(flow(undoable("a")))
    assert run.refuse("a") == ["step_failed", "compensation_started", "run_failed"]


def test_a_cancel_undoes_what_was_done_and_a_second_one_changes_nothing() -> None:
    """The compensation is not cancelled by the cancel."""
    run = Pretended(flow(undoable("a"), here("b")))
    run.finish("a")
    assert run.cancel() == ["cancel_requested", "compensation_started", "compensation_scheduled"]
    assert set(run.orders) == {"a"}
    assert run.orders["a"].back
    assert run.cancel() == []
    assert run.finish("a") == ["compensation_completed", "run_cancelled"]


def test_a_cancel_of_a_paused_run_undoes_it() -> None:
    """The pause ends with it."""
    run = Pretended(flow(undoable("a"), here("b")))
    run.pause()
    run.finish("a")
    assert run.cancel()[-1] == "compensation_scheduled"


def test_compensations_are_retried_and_end_in_an_incident_when_they_fail() -> None:
    """Also when the failure is a definite no: the run is listed until somebody has seen to it."""
    run = Pretended(flow(undoable("a"), here("b")))
    run.finish("a")
    run.cancel()
    for _ in range(9):
        run.break_off("a")
        run.tick()
    assert run.break_off("a") == ["compensation_failed", "incident_raised"]
    assert run.run.status == "stuck"
    run.retry()
    assert run.refuse("a") == ["compensation_failed", "incident_raised"]
    run.retry()
    assert run.finish("a")[-1] == "run_cancelled"


def test_branches_are_undone_in_the_reverse_order_of_their_registration() -> None:
    """One at a time, across branches."""
    run = Pretended(flow(parallel([undoable("a"), undoable("c")], [remote_undoable("b")]), here("d")))
    for node in ("a", "b", "c"):
        run.finish(node)
    run.refuse("d")
    undone = []
    while not run.run.ended:
        (node,) = run.run.active
        undone.append(node)
        run.finish(node)
    assert undone == ["c", "b", "a"]


def test_after_the_pivot_a_run_never_goes_back() -> None:
    """A cancel is refused, a definite no is an incident, and retry goes on."""
    run = Pretended(flow(undoable("a"), here("p", pivot=True), here("b")))
    run.finish("a")
    run.finish("p")
    assert run.cancel() == ["cancel_refused"]
    assert run.refuse("b") == ["step_failed", "incident_raised"]
    run.retry()
    assert run.finish("b")[-1] == "run_completed"


def test_what_tells_of_a_failure_is_told_after_everything_is_undone() -> None:
    """on_failure is part of the end, and reads the error."""
    run = Pretended(flow(undoable("a"), here("b"), on_failure=[emit("f.failed.v1", {"why": "$.error.code"})]))
    run.finish("a")
    run.refuse("b", "sold_out")
    assert run.emitted() == []
    assert run.finish("a") == ["compensation_completed", "event_emitted", "run_compensated"]
    assert run.emitted()[0].data == {"why": "sold_out"}
