"""More traps by their number: changed flows, delays, limits, reruns, and what user code may do."""

from __future__ import annotations

import dataclasses

import pytest

from contracts.retry import Retry
from orchestrator.decide import decide
from orchestrator.effects import ForwardEvent, StartRun
from orchestrator.flow import Flow
from orchestrator.happenings import StepFinished
from orchestrator.nodes import emit, parallel, sleep, wait, when
from tests.orchestrator.flows import ONCE, flow, here, remote, undoable
from tests.orchestrator.pretending import START, Pretended, asked, rules

AWAIT = wait("x.done.v1", by="id", name="w")


# --- 13: a step that was moved ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["step", "wait", "sleep", "service"])
def test_a_result_is_not_taken_where_the_flow_was_re_ordered_in_place(kind: str) -> None:
    """The run stops visibly; it does not skip what now comes before."""
    node = {"step": here("n"), "wait": wait("x.done.v1", by="id", name="n"), "sleep": sleep(5, name="n")}
    moved = node.get(kind, remote("n"))
    run = Pretended(flow(here("a"), moved, here("z")))
    run.finish("a")
    outcome = run.outcome("n") if kind in ("step", "service") else None
    run.flow = flow(moved, here("a"), here("z"))
    if outcome is not None:
        run.happen(outcome)
    elif kind == "wait":
        run.event("x.done.v1")
    else:
        run.tick()
    assert run.types()[-1] == "incident_raised"
    assert run.run.status == "stuck"


def test_a_renamed_step_is_an_incident_and_others_do_not_suffer() -> None:
    """Other branches go on."""
    run = Pretended(flow(parallel([here("a")], [here("b")])))
    run.flow = flow(parallel([here("x")], [here("b")]))
    run.lose_owner()
    assert run.run.status == "stuck"
    assert run.orders["b"].dispatch == 2
    run.finish("b")
    assert not run.run.ended


# --- 15: delays and deadlines -----------------------------------------------------------------


def test_a_delay_that_would_overrun_the_deadline_ends_the_step() -> None:
    """Schedule-to-close holds over all attempts."""
    run = Pretended(flow(here("a", retry=Retry(attempts=None, first=4, factor=1, jitter=0), deadline=10)))
    run.break_off("a")
    run.tick()
    run.break_off("a")
    run.tick()
    assert run.break_off("a") == ["step_failed", "compensation_started", "run_failed"]
    assert run.now == START + 8


@pytest.mark.parametrize("where", [here, remote])
def test_an_attempt_gets_no_more_time_than_is_left(where: type) -> None:
    """The timeout of an attempt is cut at the deadline."""
    run = Pretended(flow(where("a", timeout=30, deadline=10, retry=Retry(first=4, jitter=0))))
    assert (run.timers.get("a") or run.now + run.orders["a"].timeout) == START + 10
    run.now += 1
    run.break_off("a")
    run.tick()
    assert (run.timers.get("a") or run.now + run.orders["a"].timeout) == START + 10


def test_delays_have_jitter() -> None:
    """What failed together does not come back together."""
    policy = Retry(first=10, jitter=0.5)
    delays = set()
    for chance in (0.0, 0.3, 1.0):
        run = Pretended(flow(here("a", retry=policy)), rng=lambda chance=chance: chance)
        run.break_off("a")
        delays.add(run.timers["a"] - START)
    assert delays == {5.0, 8.0, 15.0}


# --- 16: limits -------------------------------------------------------------------------------


def test_a_result_that_is_too_large_says_what_to_do() -> None:
    """Its work is undone; the history does not hold it."""
    run = Pretended(flow(undoable("a")), most_bytes=100)
    assert run.finish("a", "x" * 200)[-1] == "compensation_scheduled"
    assert run.run.error is not None
    assert "keep the data elsewhere" in run.run.error["message"]


def test_a_history_that_grows_too_long_warns_once_and_then_stops_with_a_way_out() -> None:
    """The way out, a cancel, still undoes everything."""
    policy = Retry(attempts=None, first=1, factor=1, jitter=0)
    run = Pretended(flow(undoable("a"), here("b", retry=policy)), most_facts=20)
    run.finish("a")
    while run.run.status == "running":
        run.break_off("b")
        if run.timers:
            run.tick()
    assert run.types().count("history_grew_long") == 1
    assert "limit" in str(run.run.waiting())
    run.cancel()
    assert run.finish("a")[-1] == "run_cancelled"


# --- 17: made again ---------------------------------------------------------------------------


def test_what_a_run_had_kept_goes_on_to_the_run_made_from_it() -> None:
    """What came before its wait, and not what a wait has taken."""
    again = wait("later.v1", by="id", timeout="1h", name="later")
    run = Pretended(flow(AWAIT, undoable("a"), here("b"), again))
    run.event("x.done.v1", 0, id="taken")
    run.event("later.v1", 1, id="early")
    run.event("later.v1", 2, id="second")
    assert run.event("nobody.waits.v1", 3) == []
    run.finish("a")
    run.refuse("b")
    run.finish("a")
    assert run.run.ended
    run.effects.clear()
    assert run.retry() == ["rerun_started"]
    (new,) = run.started()[-1:]
    started = next(number for number, effect in enumerate(run.effects) if isinstance(effect, StartRun))
    assert run.effects[started + 1 :] == [
        ForwardEvent(new.run_id, "early", "later.v1", 1),
        ForwardEvent(new.run_id, "second", "later.v1", 2),
    ]


def test_a_run_that_is_made_again_is_a_new_one_linked_to_the_old() -> None:
    """The old history only gets one more fact; the second time has another id."""
    run = Pretended(flow(here("a"), here("b")))
    run.finish("a", 1)
    run.finish("b")
    history = list(run.facts)
    assert run.retry("b") == ["rerun_started"]
    run.retry()
    assert run.facts[: len(history)] == history
    first, second = run.started()
    assert first.linked_from == second.linked_from == run.run.id
    assert len({first.run_id, second.run_id, run.run.id}) == 3
    assert (first.begin_at, first.results) == ("b", {"a": 1})
    assert (second.begin_at, second.results) == (None, {})


def test_who_lets_a_stuck_run_go_on_does_not_have_an_ended_one_made_again() -> None:
    """Two do so; when the second one's comes, the run has ended. And a rerun is made once."""
    run = Pretended(flow(here("a", retry=ONCE)))
    run.refuse("a")
    assert run.run.status == "failed"
    assert run.retry(rerun=0) == []
    assert run.retry(rerun=1) == ["rerun_started"]
    assert run.retry(rerun=1) == []
    assert run.retry(rerun=2) == ["rerun_started"]


def test_nothing_is_built_on_what_was_undone() -> None:
    """A rerun may not begin behind a step that was compensated."""
    run = Pretended(flow(undoable("a"), here("b")))
    run.finish("a")
    run.refuse("b")
    run.finish("a")
    assert run.retry("b") == ["rerun_refused"]
    assert run.started() == []
    assert run.retry("a") == ["rerun_started"]


@pytest.mark.parametrize("node", ["c", "nothing"])
def test_a_rerun_that_can_t_begin_there_is_refused_visibly(node: str) -> None:
    """In the middle of a branch, or nowhere."""
    run = Pretended(flow(parallel([here("b")], [here("c")])))
    run.finish("b")
    run.finish("c")
    assert run.retry(node) == ["rerun_refused"]


def test_a_rerun_behind_the_pivot_only_goes_forward() -> None:
    """What the pivot decided stays decided."""
    made = flow(here("p", pivot=True), here("b"))
    run = Pretended(made, asked(made, linked_from="old", begin_at="b", results={"p": 1}))
    assert run.cancel() == ["cancel_refused"]


# --- the engine itself ------------------------------------------------------------------------


def test_whatever_a_contract_check_raises_is_the_run_s_incident() -> None:
    """Never an exception of the partition's: neighbours are in the same batch."""

    def check(type: str, data: object) -> None:
        raise RuntimeError("the validator broke")

    run = Pretended(flow(emit("x.said.v1", {}), here("a")), check=check)
    assert run.run.status == "stuck"
    run.rules = rules()
    assert run.retry()[-1] == "step_scheduled"


def test_a_condition_that_changes_what_it_reads_changes_nothing() -> None:
    """It gets a copy."""

    def spoil(document: dict[str, dict[str, int]]) -> bool:
        document["a"]["n"] = 99
        document["input"].clear()
        return True

    run = Pretended(flow(here("a"), when(spoil, [here("b")]), here("c")))
    run.finish("a", {"n": 1})
    assert run.run.results == {"a": {"n": 1}}
    assert run.run.input == {"id": "k1"}


def test_an_outcome_of_a_node_that_never_was_is_ignored() -> None:
    """Whoever sends it."""
    made: Flow = flow(here("a"))
    run = Pretended(made)
    decision = decide(run.run, made, StepFinished("zz", 1, None, 1), now=1.0, rules=rules())
    assert (decision.facts, decision.effects) == ((), ())
    assert dataclasses.asdict(decision.run) == dataclasses.asdict(run.run)
