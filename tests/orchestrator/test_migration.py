"""A run goes on as another version of its flow says: when that can be, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import ContractError
from orchestrator.catalog import Catalog
from orchestrator.effects import ClearTimer, SetTimer
from orchestrator.flow import Flow
from orchestrator.migration import Move, can_move
from orchestrator.nodes import Node, call, emit, parallel, sleep, step, wait, when
from tests.orchestrator.flows import flow, here, remote, remote_undoable, undoable
from tests.orchestrator.pretending import Pretended, accept

A, B, C = here("a"), here("b"), here("c")


def running(old: list[Node], new: list[Node] | Flow, *done: str, **more: Any) -> Pretended:
    """A run of version 1 that has done this much, in an app that has version 2 too."""
    second = new if isinstance(new, Flow) else flow(*new, version=2)
    first = flow(*old, **more)
    catalog = Catalog([first, second, flow(here("x"), name="sub")])
    run = Pretended(first, flow=catalog.find)
    for node in done:
        run.finish(node, {"did": node})
    return run


def reasons(run: Pretended, without: tuple[str, ...] = (), **renames: str) -> list[str]:
    new = run.rules.flow("f", 2)
    assert new is not None
    return can_move(run.run, run.flow, new, Move(2, renames, without), run.rules.check)


def test_a_moved_run_goes_on_as_the_new_version_says() -> None:
    """Steps are added, renamed and taken away, ahead of it and behind it."""
    old = [A, here("b"), C, here("d")]
    new = [here("first"), here("b"), here("new"), here("d")]
    run = running(old, new, "a")
    assert reasons(run, a="first") == []
    assert run.migrate(2, a="first") == ["run_migrated"]
    assert (run.run.version, run.run.results) == (2, {"first": {"did": "a"}})
    run.finish("b")
    run.finish("new")
    assert run.finish("d") == ["step_completed", "run_completed"]
    fact = run.of("run_migrated")[0]
    assert (fact.data["from"], fact.data["to"], fact.data["actor"]) == (1, 2, "ann")


def test_what_is_at_work_stays_at_work() -> None:
    """It is not started a second time, and its outcome counts; a place that moved is known."""
    run = running([A, B], [A, here("between"), B], "a")
    assert reasons(run) != []
    assert reasons(run, ("between",)) == []
    before = dict(run.orders)
    assert run.migrate(2, ("between",)) == ["run_migrated"]
    assert run.orders == before
    assert run.run.active["b"]["position"] == 2
    assert run.finish("b") == ["step_completed", "run_completed"]


def test_a_wait_that_is_renamed_keeps_its_timeout() -> None:
    old, new = wait("x.done.v1", by="id", timeout=50, name="w"), wait("x.done.v1", by="id", name="over")
    run = running([A, old], [A, new], "a")
    due = run.timers["w"]
    assert run.migrate(2, w="over") == ["run_migrated"]
    assert run.effects[-2:] == [ClearTimer("w"), SetTimer("over", due)]
    assert run.timers == {"over": due}
    assert run.doubts() == []
    assert run.event("x.done.v1") == ["event_received", "run_completed"]


def test_a_stuck_run_goes_on_with_what_was_mended() -> None:
    """The reason why most runs are moved: the step asks another service now."""
    old = [here("p", pivot=True), step("b", at="old", command="bank.b.v1", data={})]
    new = [here("p", pivot=True), step("b", at="new", command="bank.b.v2", data={"id": "$.input.id"})]
    run = running(old, new, "p")
    assert "is under way as" in reasons(run)[0]
    run.refuse("b")
    assert run.run.status == "stuck"
    assert run.migrate(2) == ["run_migrated"]
    run.retry()
    assert (run.commands[-1].service, run.commands[-1].type) == ("new", "bank.b.v2")
    assert run.finish("b") == ["step_completed", "run_completed"]


def test_a_moved_run_is_undone_as_the_new_version_says() -> None:
    """A compensation under a new name is still the one that was registered."""
    run = running([undoable("a"), B], [undoable("first"), B], "a")
    assert run.migrate(2, a="first") == ["run_migrated"]
    assert run.run.undo == ["first"]
    run.refuse("b")
    assert run.finish("first") == ["compensation_completed", "run_compensated"]


def test_open_branches_stay_open() -> None:
    old = parallel([here("a")], [here("b"), here("c")], name="fork")
    new = parallel([here("a")], [here("b"), here("new")], name="both")
    run = running([old], [new, here("last")], "a")
    assert reasons(run) != []
    assert run.migrate(2, fork="both") == ["run_migrated"]
    run.finish("b")
    assert run.finish("new") == ["step_completed", "branch_ended", "branches_joined", "step_scheduled"]


def test_what_a_pause_holds_back_is_moved_too() -> None:
    run = running([A, B], [A, here("second")])
    run.pause()
    run.finish("a")
    assert run.run.held == ["b"]
    assert run.migrate(2, b="second") == ["run_migrated"]
    assert run.resume() == ["run_resumed", "step_scheduled"]
    assert "second" in run.run.active


def test_a_refusal_is_told_with_its_reasons_and_changes_nothing() -> None:
    run = running([A, B], [C, B])
    before = run.run.copy()
    assert run.migrate(2) == ["migration_refused"]
    assert "stands at 'a'" in run.facts[-1].data["because"][0]
    assert (run.run.version, run.run.active) == (1, before.active)
    assert run.migrate(1) == []


CHOICE = when(lambda document: True, [here("b")], [here("c")], name="choice")


@pytest.mark.parametrize(
    ("old", "new", "done", "reason"),
    [
        ([A, B], [A, here("x")], ["a"], "stands at 'b', which version 2 does not have"),
        ([A, B], [A, sleep(5, name="b")], ["a"], "which is a sleep in version 2"),
        ([A, B], [A, parallel([B], [C], name="f")], ["a"], "in another branch"),
        ([A, B], [here("a", pivot=True), B], ["a"], "behind the pivot"),
        ([here("a", pivot=True), B], [A, B], ["a"], "before the pivot"),
        ([A, B], [B, A], ["a"], "'a' is done, and version 2 would do it once more"),
        ([A, B], [A, C, B], ["a"], "'c' comes before where the run stands"),
        ([A, B], [A, emit("x.said.v1", {}, name="e"), B], ["a"], "'e' comes before where"),
        ([undoable("a"), B], [A, B], ["a"], "'a' may have to be undone"),
        ([undoable("a"), B], [remote_undoable("a"), B], ["a"], "'a' may have to be undone"),
        ([A, B], [undoable("a"), B], ["a"], "'a' was begun with nothing to undo it"),
        ([A, B], [A, undoable("b")], ["a"], "'b' was begun with nothing to undo it"),
        ([A, remote("b")], [A, step("b", at="bank", command="x.b.v1", data={})], ["a"], "under way as"),
        (
            [wait("x.done.v1", by="id", name="w")],
            [wait("x.said.v1", by="id", name="w")],
            [],
            "a wait for x.done.v1, and version 2 has a wait for x.said.v1",
        ),
        (
            [call("sub", input={"id": "$.input.id"}, name="c")],
            [call("other", input={"id": "$.input.id"}, name="c")],
            [],
            "a call of 'sub'",
        ),
        (
            [parallel([A], [B], name="f")],
            [parallel([A], [B], [C], name="f")],
            [],
            "the branches of 'f' are open",
        ),
    ],
)
def test_why_a_run_can_not_be_moved(old: list[Node], new: list[Node], done: list[str], reason: str) -> None:
    """Each by itself would make the run skip, repeat or lose something."""
    found = reasons(running(old, new, *done))
    assert any(reason in each for each in found), found


def test_data_that_the_new_version_reads_must_be_there() -> None:
    """From what was done, or from what comes before the reader in the new version."""
    reader = emit("x.said.v1", {"n": "$.x.did"}, name="e")
    run = running([A, B], [A, here("x"), B, reader], "a")
    assert reasons(run, ("x",)) == ["'e' reads $.x.did, and the run has no result of 'x'"]
    later = running([A, B], [A, B, here("x"), reader], "a")
    assert reasons(later) == []
    renamed = running([A, B], [here("x"), B, reader], "a")
    assert reasons(renamed, a="x") == []
    result = running([A, B], flow(A, here("x"), B, version=2, result={"x": "$.x.did"}), "a")
    assert "the result of the flow reads $.x.did" in reasons(result, ("x",))[0]


def test_a_choice_that_was_passed_asks_for_nothing() -> None:
    """What the other branch would have done was never to be done."""
    assert reasons(running([A, CHOICE, here("d")], [A, CHOICE, here("d"), here("e")], "a", "b")) == []


def test_names_that_change_places_keep_their_timers() -> None:
    """One's new name is the other's old one."""
    old = [parallel([sleep("1h", name="a")], [sleep("2h", name="b")], name="p")]
    new = [parallel([sleep("1h", name="b")], [sleep("2h", name="a")], name="p")]
    run = running(old, new)
    first, second = run.timers["a"], run.timers["b"]
    assert run.migrate(2, a="b", b="a") == ["run_migrated"]
    assert run.timers == {"b": first, "a": second}


def test_renames_must_fit_both_versions() -> None:
    run = running([A, B, C], [A, B, sleep(5, name="nap")], "a")
    assert reasons(run, x="a") == ["version 1 has no node 'x' that could be renamed"]
    assert reasons(run, a="x") == ["version 2 has no node 'x' that 'a' could be now"]
    assert reasons(run, c="nap") == ["'c' is a step, and 'nap' is not"]
    assert reasons(run, ("x",)) == ["version 2 has no node 'x' to do without"]
    assert "two nodes of the run would be 'b'" in reasons(run, a="b")
    assert "idempotency key" in reasons(running([A], [B]), a="b")[0]


def test_a_run_on_its_way_back_or_at_its_end_stays() -> None:
    run = running([undoable("a"), B], [undoable("a"), B, C], "a")
    run.refuse("b")
    assert reasons(run) == ["it is going back: what it did is undone as version 1 says"]
    run.finish("a")
    assert reasons(run) == ["it has ended as compensated"]
    assert run.migrate(2) == []


def test_the_input_and_results_must_be_on_the_new_contracts() -> None:
    def strict(type: str, data: Any) -> None:
        if type == "f.narrow.v2":
            raise ContractError("/id: too short")

    run = running([A, B], [here("a", result="f.narrow.v2"), B], "a")
    new = run.rules.flow("f", 2)
    assert new is not None
    found = can_move(run.run, run.flow, new, Move(2), strict)
    assert found == ["the result of 'a' is off the contract of version 2: /id: too short"]
    narrow = Flow("f", 2, "id", "f.narrow.v2", [A, B])
    assert "its input is off" in can_move(run.run, run.flow, narrow, Move(2), strict)[0]
    assert can_move(run.run, run.flow, Flow("f", 2, "key", "f.asked.v1", [A, B]), Move(2), accept) == [
        "version 2 has another key, 'key'"
    ]
