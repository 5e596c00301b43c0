"""The histories as they grow: folded, compared with the rows, and held to the order of their flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from orchestrator.catalog import Catalog
from orchestrator.evolve import evolve
from orchestrator.facts import ENDINGS, Fact
from orchestrator.flow import Flow
from orchestrator.nodes import When
from orchestrator.plan import Plan
from orchestrator.records import load_run
from orchestrator.run import Run

__all__ = ["Chronicle"]

# Facts of which there is at most one for each node.
_ONCE = frozenset(
    {"step_completed", "compensation_completed", "branches_joined", "child_ended", "timer_fired"}
)
# Facts with which a node begins.
_BEGINNINGS = frozenset(
    {"step_scheduled", "event_emitted", "wait_started", "timer_started", "child_started", "branches_started"}
)
# Facts with which a node ends.
_OVER = frozenset(
    {
        "step_completed",
        "event_received",
        "signal_received",
        "timer_fired",
        "event_emitted",
        "branches_joined",
        "child_ended",
        "choice_taken",
    }
)
# Facts that say what became of a run after its end.
_AFTERWARDS = frozenset({"rerun_started"})
# And what came after it, if it did not complete: for the run that may be made from it.
_COMES_LATE = _AFTERWARDS | {"event_kept", "event_refused"}
_MESSAGES = frozenset({"event_received", "event_kept", "event_refused", "signal_received"})


class Chronicle:
    """Every run's state by its facts alone."""

    def __init__(self, catalog: Catalog, broken: Callable[[str], None]) -> None:
        self._catalog = catalog
        self._broken = broken
        self.runs: dict[str, Run] = {}
        self.ordered: set[tuple[str, str, bool, int, int]] = set()
        self._seen: set[tuple[str, str, str]] = set()
        # Of each run the steps that can be undone, as they began, and whether they are done. Kept apart from
        # the run's own list, which the engine's code makes: what is wrong there would look right here.
        self._to_undo: dict[str, dict[str, bool]] = {}
        self._over: dict[str, dict[str, Any]] = {}  # of each run what has ended, and which way a choice went
        self._moved: set[str] = set()  # runs that began as another version

    def add(self, row: Mapping[str, Any], facts: Sequence[Fact]) -> None:
        """A commit added these facts, and left this row."""
        stored = load_run(row)
        run = self.runs.get(stored.id)
        if run is None:
            run = self.runs[stored.id] = _fresh(stored)
        flow = self._catalog.find(run.flow, run.version)
        for fact in facts:
            if fact.seq != run.seq + 1:
                self._broken(f"run {run.id}: fact {fact.seq} comes after fact {run.seq}")
            if run.ended and fact.type not in (_AFTERWARDS if run.status == "completed" else _COMES_LATE):
                self._broken(f"run {run.id} had ended, and then: {fact.type} {fact.node or ''}")
            self._check(run, flow, fact)
            evolve(run, fact)
        if run != stored:
            wrong = [f.name for f in fields(run) if getattr(run, f.name) != getattr(stored, f.name)]
            self._broken(f"run {run.id}: its history does not give what its row says in {', '.join(wrong)}")

    def _check(self, run: Run, flow: Flow | None, fact: Fact) -> None:
        node, data = fact.node or "", fact.data
        if fact.type in _ONCE:
            self._once(run, fact.type, node)
        if fact.type in _MESSAGES and data.get("event_id"):
            self._once(run, fact.type, str(data["event_id"]))
        if fact.type in ("step_scheduled", "compensation_scheduled"):
            back = fact.type == "compensation_scheduled"
            self.ordered.add((run.id, node, back, data["attempt"], data["dispatch"]))
            if back:
                self._reverse(run, node)
            elif data.get("undo"):
                self._to_undo.setdefault(run.id, {}).setdefault(node, False)
        self._undoing(run, fact)
        if fact.type == "run_migrated":
            self._moved.add(run.id)
        if flow is not None and not run.backward and run.id not in self._moved:
            if fact.type in _BEGINNINGS and node in flow.plan.places:
                self._in_order(run, flow.plan, fact)
            elif fact.type in ("branch_ended", "run_completed"):
                self._whole(run, flow.plan, fact)
        if fact.type in _OVER:
            self._over.setdefault(run.id, {})[node] = data.get("branch")

    def _once(self, run: Run, type: str, what: str) -> None:
        if (run.id, type, what) in self._seen:
            self._broken(f"run {run.id} has {type} {what} a second time")
        self._seen.add((run.id, type, what))

    def _in_order(self, run: Run, plan: Plan, fact: Fact) -> None:
        """What stands before a node has ended when the node begins."""
        if fact.data.get("attempt", 1) > 1 or run.linked_from is not None:
            return
        before = [name for name, place in plan.places.items() if place.next == fact.node]
        for name in before:
            if name in run.active:
                self._broken(f"run {run.id}: {fact.node!r} began while {name!r} was at work")
        if before and not self._any_over(run, plan, before):
            self._broken(f"run {run.id}: {fact.node!r} began, and nothing that stands before it had ended")

    def _whole(self, run: Run, plan: Plan, fact: Fact) -> None:
        """What stands last in a branch, or in the flow, has ended when that ends."""
        fork, branch = fact.node, fact.data.get("branch")
        last = [
            name
            for name, place in plan.places.items()
            if place.next is None
            and place.joins == fork
            and (fork is None or (fork, branch) in place.branches)
        ]
        if not self._any_over(run, plan, last):
            what = "it" if fork is None else f"branch {branch} of {fork!r}"
            self._broken(f"run {run.id}: {what} ended, and nothing that stands before its end had ended")

    def _any_over(self, run: Run, plan: Plan, names: Iterable[str]) -> bool:
        """Whether one of these has ended: those behind each other's choices lead to one place."""
        over = self._over.get(run.id, {})
        for name in names:
            place = plan.places[name]
            # A choice has ended by itself only when it leads straight on.
            straight = not isinstance(place.node, When) or (
                name in over and place.heads[0 if over[name] == "then" else 1] == place.next
            )
            if name in over and straight:
                return True
        return False

    def _reverse(self, run: Run, node: str) -> None:
        """What was done last is undone first."""
        if not run.undo or run.undo[-1] != node:
            self._broken(f"run {run.id}: {node!r} is undone, and the newest of {run.undo} should be")
        steps = self._to_undo.get(run.id, {})
        names = list(steps)
        for later in names[names.index(node) + 1 :] if node in steps else ():
            if steps[later]:
                why = f"{later!r} was done after it, and should be undone first"
                self._broken(f"run {run.id}: {node!r} is undone, and {why}")

    def _undoing(self, run: Run, fact: Fact) -> None:
        """What is done and can be undone, is undone before the run ends otherwise than completed."""
        steps, node = self._to_undo.get(run.id, {}), fact.node or ""
        match fact.type:
            case "step_completed" if node in steps:
                steps[node] = True
            case "compensation_completed":
                steps.pop(node, None)
            case "run_migrated":
                steps.clear()  # they have other names, and some may be of no step any more
            case ending if ending in ENDINGS and ending != "run_completed":
                for left in [name for name, done in steps.items() if done]:
                    self._broken(f"run {run.id} ended as {ENDINGS[ending]}, and {left!r} was never undone")


def _fresh(stored: Run) -> Run:
    """The run before its first fact."""
    return Run(
        id=stored.id,
        partition=stored.partition,
        workspace=stored.workspace,
        flow=stored.flow,
        version=stored.version,
        key=stored.key,
        correlation=stored.correlation,
        input=stored.input,
        input_digest=stored.input_digest,
        start_id=stored.start_id,
        created_at=stored.created_at,
        updated_at=stored.created_at,
        linked_from=stored.linked_from,
        parent=stored.parent,
        answer_to=stored.answer_to,
        traceparent=stored.traceparent,
    )
