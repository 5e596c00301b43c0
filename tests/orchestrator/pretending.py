"""A partition without a store: one run, what it asked for, and what must hold after each turn."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import orjson

from orchestrator import records
from orchestrator.decide import begin, decide
from orchestrator.doubts import Child, Doubt, QuietRun, doubts_about, repair_of
from orchestrator.effects import (
    Abandon,
    CancelRun,
    ClearTimer,
    Dispatch,
    Effect,
    PublishEvent,
    SendCommand,
    SetTimer,
    StandInLine,
    StartRun,
)
from orchestrator.evolve import evolve
from orchestrator.facts import Fact
from orchestrator.flow import Flow, run_id_of
from orchestrator.happenings import (
    CancelRequested,
    ChildEnded,
    EventArrived,
    Happening,
    MigrationRequested,
    OwnerChanged,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    SignalArrived,
    StartRequested,
    StepFailed,
    StepFinished,
    StepReturned,
    TimerFired,
    TurnCame,
)
from orchestrator.run import Run
from orchestrator.turn import Decision, Rules

START = 1_000.0


def accept(type: str, data: Any) -> None:
    """Everything is on contract."""


def rules(**changes: Any) -> Rules:
    """Rules with no jitter."""
    return Rules(**{"check": accept, "read": accept, "flow": lambda *of: None, "rng": lambda: 0.5, **changes})


def asked(flow: Flow, input: dict[str, Any] | None = None, **changes: Any) -> StartRequested:
    """A start of ``flow``, with key ``k1``."""
    given: dict[str, Any] = {
        "message_id": "start-1",
        "run_id": run_id_of("acme", flow.name, "k1"),
        "partition": 3,
        "workspace": "acme",
        "flow": flow.name,
        "version": flow.version,
        "key": "k1",
        "input": {"id": "k1"} if input is None else input,
        "input_digest": "d",
        "correlation": "story",
    }
    return StartRequested(**{**given, **changes})


def through_the_store(run: Run) -> Run:
    """The run as another owner would read it."""
    row = row_of(run)
    for columns, write in ((records.CHANGED, records.changed_row), (records.MOVED, records.moved_row)):
        assert {name: row[name] for name in columns} == dict(zip(columns, write(run), strict=True))
    return records.load_run(row)


def row_of(run: Run) -> dict[str, Any]:
    """The run as a row of ``runs``."""
    return dict(zip(records.NEW, records.new_row(run), strict=True))


class Pretended:
    """One run. ``happen`` decides, checks what must always hold, and does the effects.

    ``orders`` are local attempts at work, ``commands`` those ever sent, ``timers`` the rows of the store.
    """

    def __init__(self, flow: Flow, start: StartRequested | None = None, /, **changes: Any) -> None:
        self.flow = flow
        self.rules = rules(**changes)
        self.now = START
        self.start = start or asked(flow)
        self.orders: dict[str, Dispatch] = {}
        self.lines: dict[str, StandInLine] = {}
        self.commands: list[SendCommand] = []
        self.timers: dict[str, float] = {}
        self.effects: list[Effect] = []
        self.facts: list[Fact] = []
        self._ids = itertools.count()
        decision = begin(flow, self.start, now=self.now, rules=self.rules)
        self.origin = fresh(decision.run)
        self.run = self.origin
        self._take(decision, None)

    # --- what happens -------------------------------------------------------------------------

    def happen(self, happening: Happening) -> list[str]:
        """Let it happen; the types of the new facts."""
        before = copy.deepcopy(self.run)
        decision = decide(self.run, self.flow, happening, now=self.now, rules=self.rules)
        assert self.run == before, "decide changed the run that it was given"
        return self._take(decision, happening)

    def finish(self, node: str, result: Any = None) -> list[str]:
        """What is at work for a node ends well."""
        return self.happen(self.outcome(node, result=result))

    def refuse(self, node: str, code: str = "no") -> list[str]:
        """A definite no."""
        return self.happen(self.outcome(node, code=code, definite=True))

    def break_off(self, node: str, code: str = "exception", after: float | None = None) -> list[str]:
        """An attempt fails, and nobody knows what it did."""
        return self.happen(self.outcome(node, code=code, after=after))

    def outcome(
        self,
        node: str,
        *,
        result: Any = None,
        code: str | None = None,
        definite: bool = False,
        after: float | None = None,
    ) -> StepFinished | StepFailed:
        """The outcome of what is at work for a node, as its executor or its service would tell it."""
        entry = self.run.active[node]
        back = entry["kind"] == "compensation"
        dispatch = entry["dispatch"] if entry.get("here") else None
        if code is None:
            return StepFinished(node, entry["attempt"], result, dispatch, back)
        return StepFailed(node, entry["attempt"], code, code, definite, after, dispatch, back)

    def tick(self) -> list[str]:
        """Go on to the next timer, and fire it."""
        name, due = min(self.timers.items(), key=lambda timer: timer[1])
        self.now = max(self.now, due)
        return self.happen(TimerFired(name))

    def event(self, type: str, data: Any = None, id: str | None = None) -> list[str]:
        return self.happen(EventArrived(id or f"e{next(self._ids)}", type, data))

    def signal(self, name: str, data: Any = None) -> list[str]:
        return self.happen(SignalArrived(f"s{next(self._ids)}", name, data, "ann"))

    def lose_owner(self, *, in_line: bool = False) -> list[str]:
        """The process dies, with all that it had in hand; ``in_line``: what has to wait for its turn does."""
        self.orders.clear()
        self.lines.clear()
        told = self.happen(OwnerChanged())
        return told if in_line else told + self._turns()

    def leave(self) -> list[str]:
        """The process ends in good order: what it has at work is stopped and given back before it goes."""
        told = [self.happen(StepReturned(node, order.dispatch)) for node, order in list(self.orders.items())]
        return [*itertools.chain(*told), *self.lose_owner()]

    def _turns(self) -> list[str]:
        return [type for node in list(self.lines) for type in self.turn_came(node)]

    def turn_came(self, node: str) -> list[str]:
        """What stood in line may start again."""
        return self.happen(TurnCame(node, self.lines.pop(node).dispatch))

    def cancel(self) -> list[str]:
        return self.happen(CancelRequested(f"c{next(self._ids)}", "not wanted", "ann"))

    def pause(self) -> list[str]:
        return self.happen(PauseRequested(f"p{next(self._ids)}", "wait", "ann"))

    def resume(self) -> list[str]:
        return self.happen(ResumeRequested(f"r{next(self._ids)}", "go", "ann"))

    def retry(self, from_node: str | None = None, rerun: int | None = None) -> list[str]:
        return self.happen(RetryRequested(f"t{next(self._ids)}", "again", "ann", from_node, rerun))

    def migrate(self, to: int, without: tuple[str, ...] = (), **renames: str) -> list[str]:
        return self.happen(MigrationRequested(f"m{next(self._ids)}", to, renames, without, "newer", "ann"))

    def child_ends(self, node: str, status: str = "completed", result: Any = None) -> list[str]:
        child = self.run.active[node]["child"]
        error = None if status == "completed" else {"code": "no", "message": "no", "node": None}
        return self.happen(ChildEnded(f"ch{next(self._ids)}", node, child, status, result, error))

    def doubts(self) -> list[Doubt]:
        """What a reconciler would doubt now; the children of calls are there and at work."""
        run = self.run
        called = [entry["child"] for entry in run.active.values() if "child" in entry]
        quiet = QuietRun(
            run.id,
            run.workspace,
            run.flow,
            run.version,
            run.key,
            run.updated_at,
            run.active,
            run.paused,
            dict(self.timers),
            {child: Child(run.id, None) for child in called},
        )
        return doubts_about(
            quiet,
            lambda run_id, node: node in self.orders or node in self.lines,
            lambda flow, version: True,
            before=self.now,
        )

    def mislay(self, node: str) -> list[str]:
        """What a node waits for is lost, as by a bug, and the reconciler finds that; the new facts."""
        self.timers.pop(node, None)
        self.orders.pop(node, None)
        repair = repair_of(self.doubts())
        return self.happen(repair) + self._turns() if repair is not None else []

    # --- what was done ------------------------------------------------------------------------

    def types(self, *wanted: str) -> list[str]:
        """The history: types, or ``type node`` where ``wanted`` names types."""
        return [f"{fact.type} {fact.node}" if wanted else fact.type for fact in self.of(*wanted)]

    def of(self, *wanted: str) -> list[Fact]:
        return [fact for fact in self.facts if not wanted or fact.type in wanted]

    def emitted(self) -> list[PublishEvent]:
        return [effect for effect in self.effects if isinstance(effect, PublishEvent)]

    def started(self) -> list[StartRun]:
        return [effect for effect in self.effects if isinstance(effect, StartRun)]

    def cancelled(self) -> list[CancelRun]:
        return [effect for effect in self.effects if isinstance(effect, CancelRun)]

    # --- the shell that a partition is --------------------------------------------------------

    def _take(self, decision: Decision, happening: Happening | None) -> list[str]:
        self.facts.extend(through_json(decision.run, fact) for fact in decision.facts)
        self.run = through_the_store(decision.run)
        if self.run.version != self.flow.version:
            self.flow = self.rules.flow(self.run.flow, self.run.version) or self.flow
        assert self.run == decision.run, "a run read from the store is another one"
        assert fold(self.origin, self.facts) == self.run, "the history does not give the state"
        if isinstance(happening, TimerFired):
            due = self.run.due(happening.name)
            if due is None or due <= self.now:
                self.timers.pop(happening.name, None)
        for effect in decision.effects:
            self._do(effect)
        self._check()
        return [fact.type for fact in decision.facts]

    def _do(self, effect: Effect) -> None:
        self.effects.append(effect)
        match effect:
            case Dispatch(node=node):
                self.orders[node] = effect
            case StandInLine(node=node):
                self.lines[node] = effect
            case Abandon(node=node):
                self.orders.pop(node, None)
                self.lines.pop(node, None)
            case SendCommand():
                self.commands.append(effect)
            case SetTimer(name=name, due_at=due_at):
                self.timers[name] = due_at
            case ClearTimer(name=name):
                self.timers.pop(name, None)

    def _check(self) -> None:
        """Every run that has not ended has a reason to move, or says what it is stuck on."""
        run = self.run
        if run.ended:
            assert not run.active
            assert not self.timers, "an ended run has timers"
            return
        assert run.active or run.paused, f"an orphan: {self.types()[-5:]}"
        assert run.paused or not run.held
        for node, entry in run.active.items():
            due = run.due(node)
            if "stuck" in entry:
                assert run.status == "stuck"
            elif due is not None:
                asleep = run.paused and "retry_at" in entry  # resuming sets it again
                assert asleep or self.timers.get(node) == due, f"{node} is due at {due}: {self.timers}"
            elif entry.get("here"):
                if node in self.lines:
                    assert self.lines[node].dispatch == entry["dispatch"]
                    continue
                order = self.orders.get(node)
                assert order is not None, f"nobody works at {node}"
                assert (order.attempt, order.dispatch) == (entry["attempt"], entry["dispatch"])
            else:
                assert entry["kind"] in ("wait", "call"), f"{node} waits for nothing: {entry}"
        assert all(run.due(node) is not None for node in self.timers), "a timer that nobody needs"


def fresh(run: Run) -> Run:
    """The run before its first fact."""
    return Run(
        id=run.id,
        partition=run.partition,
        workspace=run.workspace,
        flow=run.flow,
        version=run.version,
        key=run.key,
        correlation=run.correlation,
        input=run.input,
        input_digest=run.input_digest,
        start_id=run.start_id,
        created_at=run.created_at,
        updated_at=run.created_at,
        linked_from=run.linked_from,
        parent=run.parent,
        answer_to=run.answer_to,
        traceparent=run.traceparent,
    )


def fold(origin: Run, facts: list[Fact]) -> Run:
    """The state that a history gives."""
    run = origin.copy()
    for number, fact in enumerate(facts, 1):
        assert fact.seq == number
        evolve(run, fact)
    return run


def through_json(run: Run, fact: Fact) -> Fact:
    """A fact as it is read back from the history."""
    row = dict(zip(records.FACT, records.fact_row(run, fact), strict=True))
    return Fact(row["seq"], row["type"], row["node"], row["at"], orjson.loads(row["data"]))
