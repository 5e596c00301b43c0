"""What a history says about each node."""

from __future__ import annotations

from typing import Any

from gateway.dashboard.progress import progress_of


def facts(*rows: tuple[str, str | None, float, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"seq": seq, "type": type, "node": node, "at": at, "data": data}
        for seq, (type, node, at, data) in enumerate(rows, start=1)
    ]


BUSY = {"code": "retryable", "message": "all drivers are busy"}


def test_a_retried_step_shows_each_attempt_and_the_last_failure() -> None:
    """Attempts, the time between them, and why the first failed, all come from the facts."""
    found = progress_of(
        facts(
            ("step_scheduled", "match", 1.0, {"attempt": 1}),
            ("step_failed", "match", 1.5, {"attempt": 1, "error": BUSY, "retry_at": 2.0}),
            ("step_scheduled", "match", 2.0, {"attempt": 2}),
            ("step_completed", "match", 2.25, {"attempt": 2, "result": {"driver": "d"}}),
        )
    ).nodes["match"]
    assert [(each.started, each.ended, each.outcome) for each in found.attempts] == [
        (1.0, 1.5, "failed"),
        (2.0, 2.25, "done"),
    ]
    assert found.status == "done"
    assert found.result == {"driver": "d"}
    assert found.why() == "Done after 2 attempts; the last failure: retryable: all drivers are busy"


def test_a_step_that_waits_for_its_next_attempt_says_when_it_comes() -> None:
    """A failure with a time to retry is no end."""
    found = progress_of(
        facts(
            ("step_scheduled", "match", 1.0, {"attempt": 1}),
            ("step_failed", "match", 1.5, {"error": BUSY, "retry_at": 3.5}),
        )
    ).nodes["match"]
    assert found.status == "retrying"
    assert "all drivers are busy" in found.why()
    assert "2.00 s after the failure" in found.why()


def test_a_step_that_was_given_back_waits_for_its_next_owner() -> None:
    """Nothing failed: the attempt was broken off, and the next one says so at its end."""
    history = [
        ("step_scheduled", "match", 1.0, {"attempt": 1, "dispatch": 1}),
        ("step_returned", "match", 9.0, {"attempt": 1}),
    ]
    found = progress_of(facts(*history)).nodes["match"]
    assert found.status == "waiting"
    assert found.why() == "Its process was stopping, and gave it back: it starts again."
    history += [
        ("step_scheduled", "match", 9.5, {"attempt": 1, "dispatch": 2}),
        ("step_completed", "match", 9.75, {"attempt": 1, "result": None}),
    ]
    found = progress_of(facts(*history)).nodes["match"]
    assert [each.outcome for each in found.attempts] == ["skipped", "done"]
    assert found.why() == "Done after 2 attempts."


def test_an_attempt_whose_process_went_away_is_at_work_no_more() -> None:
    """The next owner started it again; the story of a run that has ended has no end but that."""
    found = progress_of(
        facts(
            ("step_scheduled", "match", 1.0, {"attempt": 1, "dispatch": 1}),
            ("step_scheduled", "match", 9.0, {"attempt": 1, "dispatch": 2}),
            ("step_completed", "match", 9.5, {"attempt": 1, "result": None}),
        )
    ).nodes["match"]
    assert [(each.ended, each.outcome) for each in found.attempts] == [(9.0, "skipped"), (9.5, "done")]
    assert found.attempts[0].error == "its process went away while it was at work"


def test_a_compensation_stands_beside_its_step() -> None:
    """The step keeps its outcome; its undoing has a row and an outcome of its own."""
    nodes = progress_of(
        facts(
            ("step_scheduled", "match", 1.0, {}),
            ("step_completed", "match", 2.0, {"result": None}),
            ("compensation_started", None, 3.0, {"error": BUSY, "outcome": "failed"}),
            ("compensation_scheduled", "match", 3.0, {}),
            ("compensation_failed", "match", 4.0, {"error": BUSY}),
            ("incident_raised", "match", 4.0, {"error": BUSY, "kind": "compensation"}),
        )
    ).nodes
    assert nodes["match"].status == "done"
    assert nodes["match:c"].status == "stuck"
    assert len(nodes["match:c"].attempts) == 1
    assert nodes["match:c"].why().startswith("Stuck, and waits for an operator: retryable")


def test_waits_sleeps_choices_and_calls_are_told_apart() -> None:
    """Each kind of node says in words what it does."""
    nodes = progress_of(
        facts(
            ("wait_started", "trip", 1.0, {"type": "trip.ended.v1", "due": 61.0}),
            ("timer_started", "nap", 1.0, {"due": 9.0}),
            ("choice_taken", "large", 1.0, {"branch": "then"}),
            ("branches_started", "both", 1.0, {"branches": 2}),
            ("child_started", "sub", 1.0, {"child": "c-1", "flow": "other"}),
            ("event_emitted", "booked", 1.0, {"event_id": "e-1", "event_type": "ride.booked.v1"}),
        )
    ).nodes
    assert {name: node.kind for name, node in nodes.items()} == {
        "trip": "wait",
        "nap": "sleep",
        "large": "choice",
        "both": "parallel",
        "sub": "call",
        "booked": "emit",
    }
    assert nodes["trip"].why() == "Waits for trip.ended.v1, for 1 min at most."
    assert nodes["large"].why() == "The condition held."
    assert nodes["booked"].emitted == [("e-1", "ride.booked.v1", 1.0)]


def test_a_wait_that_timed_out_failed() -> None:
    """The reason says that nothing came."""
    found = progress_of(
        facts(("wait_started", "trip", 1.0, {"type": "trip.ended.v1"}), ("wait_timed_out", "trip", 2.0, {}))
    ).nodes["trip"]
    assert found.status == "failed"
    assert "did not come in time" in found.why()


def test_what_was_open_when_the_run_ended_is_closed() -> None:
    """A cancelled run leaves no node that looks as if it were at work."""
    found = progress_of(
        facts(
            ("step_scheduled", "match", 1.0, {}),
            ("cancel_requested", None, 2.0, {"reason": "asked", "actor": "ann"}),
            ("run_cancelled", None, 3.0, {}),
        )
    )
    assert found.nodes["match"].status == "stopped"
    assert [mark.text for mark in found.marks] == ["cancel asked for: asked (by ann)", "cancelled"]


def test_what_was_open_when_the_run_turned_back_is_at_work_no_more() -> None:
    """One branch fails; the other was stopped, also while the compensation is stuck for hours."""
    found = progress_of(
        facts(
            ("branches_started", "both", 1.0, {"branches": 2}),
            ("step_scheduled", "bank", 1.0, {"attempt": 1}),
            ("wait_started", "approval", 1.0, {"type": "signal:approve"}),
            ("step_failed", "bank", 2.0, {"attempt": 1, "error": BUSY}),
            ("compensation_started", None, 2.0, {"error": BUSY, "outcome": "failed"}),
            ("compensation_scheduled", "match", 2.0, {"attempt": 1}),
        )
    ).nodes
    assert {name: node.status for name, node in found.items()} == {
        "both": "stopped",
        "bank": "failed",
        "approval": "stopped",
        "match:c": "running",
    }
    assert found["approval"].why() == "Stopped when the run began to go back (1.00 s after it began)."


def test_a_branch_that_lost_the_race_is_at_work_no_more() -> None:
    """The first of two branches was enough; what was given up for it says so."""
    found = progress_of(
        facts(
            ("branches_started", "both", 1.0, {"branches": 2}),
            ("step_scheduled", "fast", 1.0, {"attempt": 1}),
            ("step_scheduled", "slow", 1.0, {"attempt": 1}),
            ("step_completed", "fast", 2.0, {"attempt": 1, "result": None}),
            ("branch_ended", "both", 2.0, {"branch": 0}),
            ("branches_joined", "both", 2.0, {"abandoned": ["slow"]}),
        )
    ).nodes
    assert {name: node.status for name, node in found.items()} == {
        "both": "done",
        "fast": "done",
        "slow": "stopped",
    }
    assert found["slow"].attempts[0].ended == 2.0


def test_what_was_refused_says_why_and_begins_nothing() -> None:
    """The owner's reason stands before the operator's; a node that nothing began at has no progress."""
    who = {"actor": "ann", "reason": "asked"}
    found = progress_of(
        facts(
            ("cancel_refused", None, 1.0, {"because": "the run is past its pivot", **who}),
            ("event_refused", None, 2.0, {"type": "trip.ended.v1", "because": "500 events wait already"}),
            ("run_compensated", None, 3.0, {}),
            ("rerun_refused", "capture", 4.0, {"because": "'match' before it was undone", **who}),
        )
    )
    assert [mark.text for mark in found.marks] == [
        "cancel refused (the run is past its pivot): asked (by ann)",
        "not kept: trip.ended.v1 (500 events wait already)",
        "compensated",
        "not started again at capture ('match' before it was undone): asked (by ann)",
    ]
    assert found.nodes == {}


def test_facts_that_are_new_to_us_do_not_break_a_page() -> None:
    """A newer orchestrator's fact is passed over."""
    assert progress_of(facts(("moon_rose", "sky", 1.0, {}))).nodes["sky"].status == "running"
