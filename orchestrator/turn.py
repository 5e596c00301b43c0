"""One turn of a run: what a decision works with, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import ContractError, Terminal
from contracts.record import record
from orchestrator.effects import ClearTimer, Effect
from orchestrator.evolve import evolve
from orchestrator.facts import Fact
from orchestrator.flow import Flow
from orchestrator.paths import fill
from orchestrator.plan import Place, Plan
from orchestrator.run import Run

__all__ = ["Decision", "Rules", "Turn", "error_of"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a decision may ask for beside the run: all of it pure.

    ``check(type, data)`` raises ContractError for what may not be sent, ``read(type, data)`` for what can't
    be read. ``flow(name, version)`` finds a flow, version 0 the newest one. ``most_dispatches``: with how
    many processes a step may be lost before the run is parked.
    ``most_kept``: how many early events one run keeps. ``most_bytes``: the size of one step's result or
    of one kept event. ``most_facts``: the length of a history.
    """

    check: Callable[[str, Any], None]
    read: Callable[[str, Any], None]
    flow: Callable[[str, int], Flow | None]
    rng: Callable[[], float]
    most_dispatches: int = 5
    most_kept: int = 1000
    most_bytes: int = 1_000_000
    most_facts: int = 20_000


@record
class Decision:
    """The run as it is now, the facts that made it so, and what to do once they are durable."""

    run: Run
    facts: tuple[Fact, ...]
    effects: tuple[Effect, ...]


@dataclass(slots=True)
class Turn:
    """Facts and effects as they come up. ``record`` evolves the run at once.

    A run near the end of its history is told about once, while somebody can still do something.
    """

    run: Run
    flow: Flow
    now: float
    rules: Rules
    facts: list[Fact] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        """The plan of the flow's version that the run has."""
        return self.flow.plan

    def place(self, node: str) -> Place:
        """Where a node of this flow stands."""
        return self.plan.places[node]

    def record(self, type: str, node: str | None = None, /, **data: Any) -> None:
        """Something happened."""
        fact = Fact(self.run.seq + 1, type, node, self.now, data)
        evolve(self.run, fact)
        self.facts.append(fact)

    def then(self, effect: Effect) -> None:
        """Something is to be done after the commit."""
        self.effects.append(effect)

    def clear_timer(self, node: str) -> None:
        """Forget the timer of a node, if it has one."""
        entry = self.run.active.get(node)
        if entry is not None and ("due" in entry or "retry_at" in entry):
            self.then(ClearTimer(node))

    def fill(self, template: Any, contract: str | None) -> Any:
        """A template filled from the run, and checked. Raises Terminal: missing_data, off_contract."""
        data = fill(template, self.run.document())
        if contract is not None:
            try:
                self.rules.check(contract, data)
            except ContractError as error:
                raise Terminal(str(error), code="off_contract") from error
        return data

    def decision(self) -> Decision:
        """What this turn comes to."""
        most = self.rules.most_facts
        warn_at = most * 4 // 5
        if self.facts and self.facts[0].seq <= warn_at <= self.run.seq and not self.run.ended:
            self.record("history_grew_long", None, facts=self.run.seq, most=most)
        return Decision(self.run, tuple(self.facts), tuple(self.effects))


def error_of(error: Exception, node: str | None, code: str = "error") -> dict[str, Any]:
    """An error as a fact keeps it."""
    return {"code": getattr(error, "code", code), "message": str(error)[:2000], "node": node}
