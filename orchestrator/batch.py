"""One batch of a partition: happenings in, one commit and its effects out. Nothing is awaited here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import structlog

from bus.envelope import publication
from bus.port import Delivery
from contracts.envelope import derive_id
from contracts.errors import ContractError, ForgedMessage
from orchestrator import wire
from orchestrator.catalog import Catalog
from orchestrator.decide import begin, decide
from orchestrator.effects import (
    Abandon,
    AnswerParent,
    CancelRun,
    ClearTimer,
    Dispatch,
    Effect,
    ForwardEvent,
    PublishEvent,
    SendCommand,
    SetTimer,
    StandInLine,
    StartRun,
)
from orchestrator.facts import Fact
from orchestrator.flow import Flow
from orchestrator.happenings import (
    CancelRequested,
    EventArrived,
    Happening,
    MigrationRequested,
    Reconciled,
    StartRequested,
    StepFailed,
    StepFinished,
    TimerFired,
)
from orchestrator.journal import Change, Commit, Post
from orchestrator.nodes import Step
from orchestrator.outcomes import parent_of_rerun, rerun_id
from orchestrator.refusal import refusal
from orchestrator.run import Run
from orchestrator.turn import Decision, Rules
from store.events import event_row

__all__ = ["Batch"]

log = structlog.get_logger(__name__)

_START_ON_ITS_WAY = 600.0  # seconds after which a start that has not come is not waited for
_APART = 1e-6  # seconds between the early events of one commit, which are read back in their order


@dataclass(slots=True)
class Batch:
    """Collects what a batch comes to.

    ``runs`` are those in memory, changed in place as the batch goes on; when the commit fails, the
    partition forgets those in ``changes`` and reads them again. ``next_position`` numbers the outbox.
    """

    partition: int
    partitions: int
    commit: Commit
    runs: dict[str, Run]
    catalog: Catalog
    rules: Rules
    now: float
    next_position: Callable[[], int]
    early: dict[str, list[EventArrived]] = field(default_factory=dict)
    purged: set[str] = field(default_factory=set)
    changes: dict[str, Change] = field(default_factory=dict)
    dispatches: list[tuple[Run, Flow, Dispatch]] = field(default_factory=list)
    in_line: list[tuple[str, StandInLine]] = field(default_factory=list)
    abandoned: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[StartRequested, str]] = field(default_factory=list)
    repairs: list[tuple[str, Fact]] = field(default_factory=list)

    def take(self, run_id: str, happening: Happening) -> bool:
        """Let one thing happen; false when it must wait: its flow's code is not here, or its run not yet."""
        run = self.runs.get(run_id)
        match happening:
            case StartRequested():
                return self._start(run, happening)
            case EventArrived(message_id=message_id) if self._taken_early(run_id, message_id):
                pass
            case _ if run is not None:
                return self._decide(run, happening)
            case EventArrived():
                self._keep_early(run_id, happening)
            case StepFinished() | StepFailed() | TimerFired():
                pass  # of a run that was purged
            case CancelRequested(parent=str(), asked_at=at) if self.now - at < _START_ON_ITS_WAY:
                return False  # the child's start, which it stood behind, takes another way (strays)
            case _:
                log.warning("no_such_run", run=run_id, happening=type(happening).__name__)
        return True

    def objection(self, run_id: str, happening: Happening) -> ContractError | None:
        """Why a message is not taken, if it is not: it is a reply of another service than was asked."""
        run = self.runs.get(run_id)
        if run is None or not isinstance(happening, StepFinished | StepFailed) or happening.by is None:
            return None
        flow = self.catalog.find(run.flow, run.version)
        place = flow.plan.places.get(happening.node) if flow is not None else None
        if place is None or not isinstance(place.node, Step):
            return None
        asked = f"/services/{place.node.at}"
        if happening.by == asked:
            return None
        return ForgedMessage(
            "wrong-source", f"{happening.by!r} answers for step {happening.node!r} of {asked!r}"
        )

    def refuse(self, run_id: str, delivery: Delivery, objection: ContractError) -> None:
        """Keep a message apart, with what there is against it."""
        workspace = self.runs[run_id].workspace if run_id in self.runs else ""
        self.commit.refused.append(refusal(delivery, objection, self.now, workspace=workspace))

    def mark(self, run_id: str, message_id: str) -> None:
        """Remember that a run has taken a message, in the same commit."""
        if run_id in self.runs:
            self._change(self.runs[run_id]).marks.append(message_id)

    def finish(self) -> Commit:
        """The commit, complete."""
        self.commit.changes = list(self.changes.values())
        return self.commit

    def _start(self, run: Run | None, start: StartRequested) -> bool:
        if run is not None:
            self._already(run, start)
            return True
        if start.run_id in self.purged:
            self._gone(start)
            return True
        flow = self.catalog.find(start.flow, start.version)
        if flow is None:
            log.error("flow_version_missing", flow=start.flow, version=start.version, run=start.run_id)
            return False
        if early := self.early.get(start.run_id):
            start = replace(start, early=tuple(early))
        decision = begin(flow, start, now=self.now, rules=self.rules)
        change = self.changes[decision.run.id] = Change(decision.run, created=True)
        change.taken = [event.message_id for event in start.early]
        change.marks.extend(change.taken)  # so that a repeat of one of them is stopped like any other
        self._absorb(change, flow, decision)
        self.answers.append((start, "created"))
        return True

    def _already(self, run: Run, start: StartRequested) -> None:
        """The key has its run. The same start again is answered again; another one may be a conflict."""
        if run.input_digest != start.input_digest:
            outcome = "conflict"  # also under the start's own id: it asks for something else now
        else:
            outcome = "created" if run.start_id == start.message_id else "exists"
        self.answers.append((start, outcome))
        if start.parent is not None:
            self._answer_again(run, start.parent)

    def _gone(self, start: StartRequested) -> None:
        """The key had its run, of which only the id is left: whatever asks, it is not run a second time."""
        self.answers.append((start, "purged"))
        if start.parent is not None:
            self._answer_again(_shadow(start, self.now), start.parent)

    def _answer_again(self, run: Run, parent: dict[str, Any]) -> None:
        """A parent calls a run that is there already. Without an answer it might wait for ever."""
        # By the call, and not by the partition, which is another one where the store was given more.
        if run.parent is not None and all(run.parent[name] == parent[name] for name in ("run_id", "node")):
            if not run.ended:
                return  # it is answered at its end
            if run.reruns:
                self._ask_rerun(run, parent)
                return
            answer = AnswerParent(parent, run.status, run.result, run.error)
        else:
            message = f"{run.flow} {run.key!r} was already run by another"
            error = {"code": "child_exists", "message": message, "node": None}
            answer = AnswerParent(parent, "failed", None, error)
        asked = self.commit.id  # another answer than the first, which may have been taken
        self._post(self._change(run), wire.child_ended(run, answer, self.now, asked=asked))

    def _ask_rerun(self, run: Run, parent: dict[str, Any]) -> None:
        """What a call waits for was made again: the newest that was made from it answers."""
        newest = StartRun(
            rerun_id(run.id, run.reruns),
            run.flow,
            run.version,
            run.key,
            run.input,
            linked_from=run.id,
            parent={**(parent_of_rerun(run) or {}), **parent},
        )
        self._post(self._change(run), wire.start(self._asked(run, newest), self.now))

    def _decide(self, run: Run, happening: Happening) -> bool:
        flow = self.catalog.find(run.flow, run.version)
        if flow is None:
            log.error("flow_version_missing", flow=run.flow, version=run.version, run=run.id)
            return False
        if isinstance(happening, MigrationRequested) and self.catalog.find(run.flow, happening.to) is None:
            log.error("flow_version_missing", flow=run.flow, version=happening.to, run=run.id)
            return False
        decision = decide(run, flow, happening, now=self.now, rules=self.rules)
        if isinstance(happening, Reconciled):
            self.repairs += [(run.id, fact) for fact in decision.facts if fact.type == "run_repaired"]
        if isinstance(happening, TimerFired):
            due = decision.run.due(happening.name)
            if due is None or due <= self.now:
                # Fired, and the row has served. One that was moved is still to fire, and its row stays.
                self._change(run).timers.setdefault(happening.name, None)
        if decision.facts or decision.effects:
            self._absorb(self._change(run), flow, decision)
        return True

    def _taken_early(self, run_id: str, message_id: str) -> bool:
        """Whether this is a repeat of an event that came before its run, whose mark is in this very batch."""
        return any(event.message_id == message_id for event in self.early.get(run_id, ()))

    def _keep_early(self, run_id: str, event: EventArrived) -> None:
        row = {
            "run_id": run_id,
            "message_id": event.message_id,
            "partition": self.partition,
            "type": event.type,
            "at": self.now + len(self.commit.early) * _APART,
            "data": orjson.dumps(event.data).decode(),
        }
        self.commit.early.append(row)
        self.early.setdefault(run_id, []).append(event)

    def _change(self, run: Run) -> Change:
        change = self.changes.get(run.id)
        if change is None:
            change = self.changes[run.id] = Change(run, stood=run.standing)
        return change

    def _absorb(self, change: Change, flow: Flow, decision: Decision) -> None:
        run = change.run = self.runs[decision.run.id] = decision.run
        change.facts.extend(decision.facts)
        for effect in decision.effects:
            self._effect(change, run, flow, effect)

    def _effect(self, change: Change, run: Run, flow: Flow, effect: Effect) -> None:
        match effect:
            case Dispatch():
                self.dispatches.append((run, flow, effect))
            case Abandon(node=node):
                self.abandoned.append((run.id, node))
                # What was ordered in this very batch has not started, and must not.
                self.dispatches = [
                    (other, flow, order)
                    for other, flow, order in self.dispatches
                    if (other.id, order.node) != (run.id, node)
                ]
                self.in_line = [(id, one) for id, one in self.in_line if (id, one.node) != (run.id, node)]
            case StandInLine():
                self.in_line.append((run.id, effect))
            case SetTimer(name=name, due_at=due_at):
                change.timers[name] = due_at
            case ClearTimer(name=name):
                change.timers[name] = None
            case SendCommand():
                self._post(change, wire.command(run, effect, self.now))
            case PublishEvent():
                event = wire.published(run, effect, self.now)
                change.events.append(event_row(event) | {"at": self.now})
                self._post(change, publication(event))
            case StartRun():
                self._post(change, wire.start(self._asked(run, effect), self.now))
            case CancelRun(run_id=run_id):
                partition = wire.partition_of(run_id, self.partitions)
                self._post(change, wire.child_cancelled(run, effect, partition, self.now))
            case AnswerParent():
                self._post(change, wire.child_ended(run, effect, self.now))
            case ForwardEvent(run_id=run_id):
                partition = wire.partition_of(run_id, self.partitions)
                self._post(change, wire.forwarded(run, effect, partition, self.now))

    def _post(self, change: Change, outgoing: Any) -> None:
        change.posts.append(Post(self.next_position(), outgoing))

    def _asked(self, run: Run, effect: StartRun) -> StartRequested:
        parent = effect.parent
        if effect.node is not None:
            parent = {"run_id": run.id, "node": effect.node, "partition": run.partition}
        return StartRequested(
            message_id=derive_id("start", run.id, effect.run_id),
            run_id=effect.run_id,
            partition=wire.partition_of(effect.run_id, self.partitions),
            workspace=run.workspace,
            flow=effect.flow,
            version=effect.version,
            key=effect.key,
            input=effect.input,
            input_digest=wire.digest_of(effect.input),
            correlation=run.correlation,
            causation=run.id,
            traceparent=run.traceparent,
            parent=parent,
            linked_from=effect.linked_from,
            begin_at=effect.begin_at,
            results=effect.results or {},
        )


def _shadow(start: StartRequested, now: float) -> Run:
    """A run that is no more, as far as somebody who asks for it can be told of it."""
    return Run(
        id=start.run_id,
        partition=start.partition,
        workspace=start.workspace,
        flow=start.flow,
        version=start.version,
        key=start.key,
        correlation=start.correlation,
        input=start.input,
        input_digest=start.input_digest,
        start_id=start.message_id,
        created_at=now,
        updated_at=now,
        ended_at=now,
    )
