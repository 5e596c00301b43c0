"""The layout of a story: rows of the store in, lanes and edges out."""

from __future__ import annotations

from contracts.envelope import derive_id
from gateway.dashboard.story import MOST_ROWS, OVERDUE
from tests.gateway.dashboard.story_rows import RUN, event, fact, lane, only_row, reaction, story


def test_the_run_is_on_top_then_the_outside_services_and_reactors() -> None:
    """Lanes are in the order of command: who leads, who is told what to do, who follows."""
    told = story(
        events=[event("e-1", "ride.booked.v1", 101.0), event("e-2", "trip.ended.v1", 102.0, source="/app")],
        reactions=[reaction("notify", "e-1", 101.2), reaction("service.payments", "cmd", 102.5)],
    )
    assert [each.id for each in told.lanes] == ["run-run-1", "outside", "service-payments", "reactor-notify"]


def test_an_event_is_one_vertical_line_to_everything_it_set_off() -> None:
    """Each row between has a part of the line, at the same place; the rows that react have its heads."""
    told = story(reactions=[reaction("notify", "e-1", 101.2), reaction("receipts", "e-1", 101.4)])
    source = only_row(told, "run-run-1")
    notify, receipts = only_row(told, "reactor-notify"), only_row(told, "reactor-receipts")
    x = source.dots[0].x
    assert [(line.x, line.y1, line.y2) for line in source.lines] == [(x, 50, 100)]
    assert [(line.x, line.y1, line.y2, line.arrow) for line in receipts.lines] == [(x, 0, 50, True)]
    assert {(line.x, line.y1, line.y2, line.arrow) for line in notify.lines} == {
        (x, 0, 50, True),
        (x, 0, 100, False),
    }
    assert [(line.y1, line.y2) for line in lane(told, "reactor-notify").lines] == [(0, 100)]


def test_time_in_the_queue_is_drawn_apart_from_work() -> None:
    """The queue begins where the event was published and ends where the work begins."""
    row = only_row(story(reactions=[reaction("notify", "e-1", 101.8)]), "reactor-notify")
    queue, work = row.segments
    assert (queue.kind, work.kind) == ("queue", "work")
    assert queue.x + queue.width == work.x
    assert row.note == "800 ms queued · 500 ms work"


def test_retries_are_shown_before_the_newest_attempt() -> None:
    """What was spent on earlier attempts is no queue and no work."""
    row = only_row(
        story(reactions=[reaction("notify", "e-1", 101.2, started_at=102.0, finished_at=102.5, attempts=3)]),
        "reactor-notify",
    )
    assert [segment.kind for segment in row.segments] == ["queue", "backoff", "work"]
    assert row.why == "Done after 3 attempts."


def test_a_reaction_that_was_expected_and_did_not_come_is_drawn() -> None:
    """First it is in the queue; when that takes too long it is said to be missing, and stands out."""
    early = story(expected={"ride.booked.v1": ["receipts"]}, now=101.0 + OVERDUE / 2)
    late = story(expected={"ride.booked.v1": ["receipts"]}, now=101.0 + OVERDUE * 2)
    assert only_row(early, "reactor-receipts").status.name == "queued"
    assert early.findings == []
    missing = only_row(late, "reactor-receipts")
    assert missing.status.name == "missing"
    assert missing.segments[0].kind == "missing"
    assert [finding.anchor for finding in late.findings] == [missing.id]
    assert "receipts subscribes to ride.booked.v1" in late.findings[0].text


def test_a_dead_letter_stands_out_with_what_can_be_done() -> None:
    """The finding says who gave up on what and why, and offers to redrive or discard."""
    letter = {
        "id": "d-1",
        "reactor": "notify",
        "source": "/nyc/flows/ride",
        "event_id": "e-1",
        "status": "dead",
        "error_type": "SMTPError",
        "error_message": "550 full",
        "dead_at": 102.0,
        "settled_at": None,
        "settled_by": None,
        "reason": None,
    }
    dead = reaction(
        "notify", "e-1", 101.2, status="dead", attempts=5, error={"type": "SMTPError", "message": "550 full"}
    )
    told = story(reactions=[dead], dead_letters=[letter])
    (finding,) = told.findings
    assert finding.text == "notify on ride.booked.v1: Given up after 5 attempts: SMTPError: 550 full"
    assert [action.href for action in finding.actions] == [
        "/ui/dead-letters/d-1/redrive",
        "/ui/dead-letters/d-1/discard",
    ]
    settled = story(reactions=[dead], dead_letters=[{**letter, "status": "discarded", "settled_by": "ann"}])
    assert settled.findings == []
    assert only_row(settled, "reactor-notify").status.name == "discarded"


def test_a_dead_letter_of_a_service_is_counted_with_the_others() -> None:
    """A command can be given up as a reaction can."""
    given_up = {"status": "dead", "error": {"type": "E", "message": "m"}}
    told = story(
        reactions=[
            reaction("service.payments", "cmd", 101.2, **given_up),
            reaction("notify", "e-1", 101.2, **given_up),
            reaction("service.payments", "other", 101.2),
        ]
    )
    assert told.counts == [("run", 1, "quiet"), ("reactions done", 0, "ok"), ("dead letters", 2, "bad")]


def test_what_a_reactor_emits_is_drawn_from_its_own_reaction() -> None:
    """An event caused by a reaction is no event from outside."""
    told = story(
        events=[
            event("e-1", "ride.booked.v1", 101.0),
            event("e-2", "receipt.written.v1", 101.7, source="/nyc/reactors/receipts", causation="e-1"),
        ],
        reactions=[
            reaction("receipts", "e-1", 101.2),
            reaction("stats", "e-2", 101.8, source="/nyc/reactors/receipts"),
        ],
    )
    assert [each.id for each in told.lanes] == ["run-run-1", "reactor-receipts", "reactor-stats"]
    assert any(line.y1 == 50 and line.y2 == 100 for line in only_row(told, "reactor-receipts").lines)


def test_an_event_that_a_run_waited_for_points_up_to_its_wait() -> None:
    """The run takes it under an id of its own; the edge is found all the same."""
    taken = derive_id("correlated", "/app", "e-9", "run-1")
    told = story(
        histories={
            "run-1": [
                fact(1, "wait_started", "trip", 101.0, type="trip.ended.v1"),
                fact(2, "event_received", "trip", 102.1, event_id=taken, type="trip.ended.v1", data={}),
            ]
        },
        events=[event("e-9", "trip.ended.v1", 102.0, source="/app")],
    )
    assert [(line.y1, line.y2, line.arrow) for line in only_row(told, "run-run-1").lines] == [(100, 50, True)]


def test_nobody_listening_stands_out() -> None:
    """An event that reached no queue is said to have."""
    told = story(events=[event("e-2", "ride.lost.v1", 101.0, source="/app", routed=0)])
    assert [finding.text for finding in told.findings] == ["Nobody listened to ride.lost.v1."]


def test_a_stuck_run_is_the_first_finding() -> None:
    """The worst comes first, with the reason for which it can't go on."""
    stuck = {**RUN, "status": "stuck", "waiting": "match: stuck: the roster refuses"}
    told = story(runs=[stuck], expected={"ride.booked.v1": ["receipts"]}, now=200.0)
    assert [finding.tone for finding in told.findings] == ["bad", "warn"]
    assert "the roster refuses" in told.findings[0].text


def test_the_table_twin_has_all_of_it_in_order() -> None:
    """Whoever can't see the chart reads the same story."""
    told = story(
        reactions=[reaction("notify", "e-1", 101.2)],
        audit=[
            {
                "seq": 7,
                "at": 102.0,
                "actor": "ann",
                "action": "run.pause",
                "target": "run/run-1",
                "reason": "why",
            }
        ],
        expected={"ride.booked.v1": ["notify", "receipts"]},
    )
    assert [(entry.where, entry.what) for entry in told.entries] == [
        ("ride r-1 · booked", "event emitted"),
        ("notify", "ride.booked.v1"),
        ("receipts", "ride.booked.v1"),
        ("Operators", "run.pause"),
    ]


def test_a_story_without_a_run_can_be_told() -> None:
    """Choreography needs no run."""
    told = story(runs=[], histories={}, reactions=[reaction("notify", "e-1", 101.2)])
    assert [each.id for each in told.lanes] == ["outside", "reactor-notify"]
    assert not told.open


def test_a_letter_that_was_redriven_is_part_of_the_story() -> None:
    """Done in the end, and how it came to that: given up, then sent again by somebody."""
    letter = {
        "id": "d-1",
        "reactor": "notify",
        "source": "/nyc/flows/ride",
        "event_id": "e-1",
        "status": "redriven",
        "error_type": "SMTPError",
        "error_message": "550 full",
        "dead_at": 101.6,
        "settled_at": 102.0,
        "settled_by": "ann",
        "reason": None,
    }
    told = story(reactions=[reaction("notify", "e-1", 101.2, started_at=102.1)], dead_letters=[letter])
    row = only_row(told, "reactor-notify")
    assert [dot.title for dot in row.dots] == ["given up: SMTPError: 550 full", "redriven by ann"]
    assert [finding.tone for finding in told.findings] == ["undo"]
    assert "once ann had sent it again; before, it was given up with SMTPError: 550 full" in row.why


def test_a_story_of_thousands_of_reactions_stays_a_page() -> None:
    """A lane shows what went wrong and the earliest; all of it is in the table; edges are cut short."""
    count = 1_000
    failed = reaction("notify", "e-900", 1001.2, status="dead", error={"type": "E", "message": "m"})
    told = story(
        histories={},
        events=[event(f"e-{n}", "ride.booked.v1", 101.0 + n, source="/app") for n in range(count)],
        reactions=[failed if n == 900 else reaction("notify", f"e-{n}", 101.2 + n) for n in range(count)],
        now=2000.0,
    )
    notify = lane(told, "reactor-notify")
    assert len(notify.rows) == MOST_ROWS
    assert notify.hidden == count - MOST_ROWS
    assert any(row.status.name == "dead" for row in notify.rows)
    assert len(told.entries) == 2 * count
    assert sum(len(row.lines) for each in told.lanes for row in each.rows) <= 4 * MOST_ROWS


def test_runs_that_belong_together_are_joined() -> None:
    """A call points to the run it started; a run points to the one that was made from it."""
    child = {**RUN, "id": "run-2", "key": "r-2", "created_at": 101.5}
    again = {**RUN, "id": "run-3", "created_at": 102.0, "linked_from": "run-1"}
    told = story(
        runs=[RUN, child, again],
        histories={"run-1": [fact(1, "child_started", "sub", 101.5, child="run-2", flow="ride")]},
        events=[],
    )
    assert [each.id for each in told.lanes] == ["run-run-1", "run-run-2", "run-run-3"]
    assert [line.arrow for line in lane(told, "run-run-2").lines if line.y2 == 50] == [True]
    assert [line.arrow for line in lane(told, "run-run-3").lines if line.y2 == 50] == [True]
