"""Random flows, random happenings (lost, stale, repeated, out of order): what holds for every run."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.evolve import _EVOLUTIONS
from orchestrator.happenings import Happening, TimerFired
from orchestrator.nodes import Parallel, Step, When
from orchestrator.plan import Plan
from tests.orchestrator.pretending import Pretended, asked
from tests.orchestrator.random_flows import CHILD, Writer

CHAOS = 40
CALM = 400

seeds = st.integers(0, 2**32)
often = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Driver:
    """Lets things happen to a run. ``told`` are outcomes that were told before, to be told again."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        made = Writer(self.chance).flow()
        parent = {"run_id": "p", "node": "c", "partition": 0} if self.chance.random() < 0.3 else None
        self.run = Pretended(
            made,
            asked(made, parent=parent),
            rng=self.chance.random,
            flow=lambda name, version: replace(made, version=version) if name == made.name else CHILD,
        )
        self.told: list[Happening] = []

    def chaos(self) -> None:
        for _ in range(CHAOS):
            if self.run.run.ended:
                self.run.event("x.one.v1")
            self._anything()

    def calm(self) -> None:
        """From now on everything works."""
        for _ in range(CALM):
            run = self.run
            if run.run.ended:
                return
            if run.run.paused:
                run.resume()
            elif run.run.status == "stuck":
                run.retry()
            else:
                self._go_on()
        raise AssertionError(f"it does not end: {self.run.run.waiting()}")

    def _go_on(self) -> None:
        node = self.chance.choice(list(self.run.run.active))
        entry = self.run.run.active[node]
        match entry["kind"]:
            case _ if "retry_at" in entry or entry["kind"] == "sleep":
                self.run.tick()
            case "step" | "compensation":
                self.run.finish(node, {"n": 1})
            case "wait" if entry["type"].startswith("signal:"):
                self.run.signal(entry["type"].removeprefix("signal:"))
            case "wait":
                self.run.event(entry["type"])
            case "call":
                self.run.child_ends(node)

    def _anything(self) -> None:
        run, chance = self.run, self.chance
        at_work = [node for node, entry in run.run.active.items() if "attempt" in entry]
        match chance.choice(["outcome"] * 8 + ["again", "timer", "timer", "stale", "event", "rare", "child"]):
            case "outcome" if at_work:
                self._tell(self._outcome(chance.choice(at_work)))
            case "again" if self.told:
                run.happen(chance.choice(self.told))
            case "timer" if run.timers:
                run.tick()
            case "stale":
                run.happen(TimerFired(chance.choice(list(run.flow.plan.places))))
            case "event":
                if chance.random() < 0.5:
                    run.event(chance.choice(["x.one.v1", "x.two.v1", "x.three.v1"]))
                else:
                    run.signal("go")
            case "child":
                called = [node for node, entry in run.run.active.items() if "child" in entry]
                for node in called[:1]:
                    run.child_ends(node, chance.choice(["completed", "failed", "cancelled"]))
            case "rare":
                self._rare()

    def _rare(self) -> None:
        run = self.run
        rare = ["lost", "left", "mislaid", "cancel", "pause", "resume", "resume", "retry", "move"]
        match self.chance.choice(rare):
            case "lost":
                run.lose_owner()
            case "left":
                run.leave()
            case "mislaid" if run.run.active:
                run.mislay(self.chance.choice(list(run.run.active)))
            case "cancel":
                run.cancel()
            case "pause":
                run.pause()
            case "resume":
                run.resume()
            case "retry":
                run.retry()
            case "move":
                moved = run.migrate(run.run.version + 1)
                may = not (run.run.ended or run.run.backward) and (run.run.active or run.run.held)
                assert moved == [] or (moved[0] == "run_migrated") == bool(may), run.facts[-1].data

    def _outcome(self, node: str) -> Happening:
        match self.chance.choice(["done", "done", "done", "failed", "refused"]):
            case "done":
                return self.run.outcome(node, result={"by": node})
            case "refused":
                return self.run.outcome(node, code="no", definite=True)
            case _:
                return self.run.outcome(node, code="broken")

    def _tell(self, outcome: Happening) -> None:
        self.told.append(outcome)
        self.run.happen(outcome)


@given(seeds)
@often
def test_every_run_ends_once_everything_works_again(seed: int) -> None:
    """After each turn: its history gives its state, it has a reason to move, its timers are right."""
    driver = Driver(seed)
    driver.chaos()
    driver.calm()


@given(seeds)
@often
def test_a_run_that_can_go_on_is_never_doubted(seed: int) -> None:
    """Whatever happens to it, in whatever order: a false repair would start things a second time."""
    driver = Driver(seed)
    for _ in range(CHAOS):
        driver._anything()
        assert driver.run.run.ended or driver.run.doubts() == []


@given(seeds)
@often
def test_no_node_starts_before_the_one_before_it_is_done(seed: int) -> None:
    """Strict order, through choices and branches, whatever is lost and repeated."""
    driver = Driver(seed)
    driver.chaos()
    before = _before(driver.run.flow.plan)
    done: set[str] = set()
    starts = ("step_scheduled", "wait_started", "timer_started", "child_started", "event_emitted")
    for fact in driver.run.facts:
        node = str(fact.node)
        if fact.type in (*starts, "choice_taken", "branches_started") and node in before:
            assert before[node] & done, f"{node} began before any of {before[node]}"
        match fact.type:
            case "run_started":
                done.add("start")
            case "step_completed" | "event_received" | "signal_received" | "timer_fired" | "event_emitted":
                done.add(node)
            case "child_ended" if fact.data["status"] == "completed":
                done.add(node)
            case "choice_taken":
                done.add(f"{node} {fact.data['branch']}")
            case "branches_started":
                done.add(f"{node} began")
            case "branches_joined":
                done.add(node)


@given(seeds)
@often
def test_what_was_done_is_undone_once_each_in_exact_reverse_order(seed: int) -> None:
    """Unknown outcomes too, definite refusals not, and nothing after the pivot."""
    driver = Driver(seed)
    driver.chaos()
    driver.calm()
    registered: list[str] = []
    tries: Counter[str] = Counter()
    undone: list[str] = []
    expected: list[str] | None = None
    pivoted = False
    for fact in driver.run.facts:
        node = str(fact.node)
        match fact.type:
            case "step_scheduled":
                tries[node] += 1
                step = driver.run.flow.plan.places[node].node
                if isinstance(step, Step) and step.compensate and node not in registered:
                    registered.append(node)
            case "step_failed" if fact.data.get("definite") and tries[node] == 1 and node in registered:
                registered.remove(node)
            case "step_completed" if fact.data.get("pivot"):
                pivoted = True
            case "compensation_started":
                assert expected is None, "a run goes back once"
                assert not pivoted, "a run went back after its pivot"
                expected = registered[::-1]
            case "compensation_completed":
                undone.append(node)
    if expected is None:
        assert undone == []
        assert driver.run.run.status == "completed"
    else:
        assert undone == expected
        assert driver.run.run.status in ("failed", "compensated", "cancelled")


@given(seeds)
@often
def test_an_event_is_the_same_whenever_it_is_emitted(seed: int) -> None:
    """Ids are stable over repeats, and differ between nodes; commands keep their node and attempt."""
    driver = Driver(seed)
    driver.chaos()
    driver.calm()
    ids: dict[str, set[str]] = {}
    for event in driver.run.emitted():
        ids.setdefault(event.node, set()).add(event.event_id)
    assert all(len(found) == 1 for found in ids.values())
    assert len(set.union(set(), *ids.values())) == len(ids)
    answers = [effect for effect in driver.run.effects if type(effect).__name__ == "AnswerParent"]
    assert len(answers) == (1 if driver.run.run.parent else 0)


def test_the_random_runs_go_everywhere() -> None:
    """The properties would say little if chance never took a run to these places."""
    seen: Counter[str] = Counter()
    for seed in range(250):
        driver = Driver(seed)
        driver.chaos()
        driver.calm()
        seen.update(set(driver.run.types()))
        seen[driver.run.run.status] += 1
    rare = {"history_grew_long", "event_refused", "rerun_refused"}
    assert set(_EVOLUTIONS) - rare - set(seen) == set()
    assert min(seen[status] for status in ("completed", "failed", "compensated", "cancelled")) >= 5


def _before(plan: Plan) -> dict[str, set[str]]:
    """For each node: what of must be done before it can start."""
    found: dict[str, set[str]] = {name: set() for name in plan.places}
    found[plan.first].add("start")
    for name, place in plan.places.items():
        ways: list[tuple[str | None, str]] = []
        match place.node:
            case When():
                ways = [(place.heads[0], f"{name} then"), (place.heads[1], f"{name} otherwise")]
            case Parallel():
                ways = [(head, f"{name} began") for head in place.heads]
        if not isinstance(place.node, When):
            ways.append((place.next, name))
        for target, after in ways:
            if target is not None:
                found[target].add(after)
    return found


@pytest.mark.parametrize("seed", [11103])
def test_runs_that_once_did_not_end(seed: int) -> None:
    """What chance has found before stays found."""
    driver = Driver(seed)
    driver.chaos()
    driver.calm()
