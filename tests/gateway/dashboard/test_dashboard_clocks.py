"""Clocks that disagree: an effect is never drawn before its cause."""

from __future__ import annotations

import pytest

from contracts.envelope import derive_id
from tests.gateway.dashboard.story_rows import event, fact, only_row, reaction, story


def test_a_worker_whose_clock_runs_behind_does_not_react_before_the_event() -> None:
    """An effect is drawn after its cause, and the row says by how much it was moved."""
    row = only_row(story(reactions=[reaction("notify", "e-1", 95.0, finished_at=95.5)]), "reactor-notify")
    emitted = only_row(story(reactions=[reaction("notify", "e-1", 95.0, finished_at=95.5)]), "run-run-1")
    assert row.segments[0].x >= emitted.dots[0].x
    assert any(name == "drawn" and "6.00 s later" in value for name, value, _ in row.details)


def test_a_service_does_not_answer_after_its_answer_was_taken() -> None:
    """A command's work lies within the step that asked for it, whatever the service's clock says."""
    command = derive_id("command", "run-1", "authorize")
    told = story(
        histories={
            "run-1": [
                fact(1, "step_scheduled", "authorize", 101.0, service="payments"),
                fact(2, "step_completed", "authorize", 102.0, result={}),
            ]
        },
        events=[],
        reactions=[reaction("service.payments", command, 105.0)],
    )
    step, served = only_row(told, "run-run-1").segments[0], only_row(told, "service-payments").segments[-1]
    assert step.x <= served.x
    assert served.x + served.width <= step.x + step.width
    assert only_row(told, "service-payments").lines[0].arrow


@pytest.mark.parametrize("ends", ["timeout", "cancelled"])
def test_a_service_may_end_after_nobody_waits_for_its_answer(ends: str) -> None:
    """Its clock is not at fault, and the time in the queue that the step had no time for is drawn."""
    command = derive_id("command", "run-1", "authorize")
    over = [fact(2, "run_cancelled", None, 131.0)]
    if ends == "timeout":
        error = {"code": "timeout", "message": "no reply in time"}
        over = [fact(2, "step_failed", "authorize", 131.0, error=error)]
    told = story(
        histories={"run-1": [fact(1, "step_scheduled", "authorize", 101.0, service="payments"), *over]},
        events=[],
        reactions=[reaction("service.payments", command, 121.0, finished_at=161.0)],
        now=200.0,
    )
    row = only_row(told, "service-payments")
    assert row.note == "20.0 s queued · 40.0 s work"
    assert "drawn" not in [name for name, _, _ in row.details]


def test_what_a_slow_clock_emitted_is_moved_with_it() -> None:
    """A chain of reactions stays in order: each is drawn after the one that caused it."""
    told = story(
        events=[
            event("e-1", "ride.booked.v1", 101.0),
            event("e-2", "receipt.written.v1", 95.3, source="/nyc/reactors/receipts", causation="e-1"),
        ],
        reactions=[
            reaction("receipts", "e-1", 95.0),
            reaction("stats", "e-2", 95.4, source="/nyc/reactors/receipts"),
        ],
    )
    receipts, stats = only_row(told, "reactor-receipts"), only_row(told, "reactor-stats")
    assert [each.id for each in told.lanes][1:] == ["reactor-receipts", "reactor-stats"]
    assert receipts.started == 101.0
    assert stats.started is not None
    assert round(stats.started - 101.0, 6) == 0.3


def test_events_that_claim_to_cause_each_other_can_be_drawn() -> None:
    """Ids that somebody made up do not send the layout in a circle."""
    told = story(
        events=[
            event("e-1", "a.v1", 101.0, source="/nyc/reactors/one", causation="e-2"),
            event("e-2", "b.v1", 101.0, source="/nyc/reactors/two", causation="e-1"),
        ],
        reactions=[reaction("one", "e-2", 101.0), reaction("two", "e-1", 101.0)],
    )
    assert {each.id for each in told.lanes} >= {"reactor-one", "reactor-two"}
