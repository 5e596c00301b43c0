"""The processes of a simulated house: the real orchestrator and reactor runtime, started and killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from antiphon.app import App
from antiphon.testing.doubles import Doubles
from antiphon.testing.loop import VirtualLoop
from antiphon.testing.place import Place, SimulatedBus, SimulatedEngine
from antiphon.testing.watch import Watch
from contracts.errors import AntiphonError
from orchestrator.clock import StoreClock
from orchestrator.context import StepContext
from orchestrator.effects import Dispatch
from orchestrator.executor import Executor, Report
from orchestrator.flow import Flow
from orchestrator.nodes import StepFunction
from orchestrator.run import Run
from orchestrator.runtime import Orchestrator
from reactors.runtime import ReactorRuntime
from store.database import Database
from store.live.port import Live

__all__ = ["Role", "orchestrating", "reacting", "run_place"]

# Gives what a process does, from its place and what it stands on.
Role = Callable[[Place, SimulatedBus, Database], Coroutine[Any, Any, Any]]


class _WatchedExecutor(Executor):
    """Sees that no step starts before its order is durable."""

    def __init__(self, place: Place, doubles: Doubles, watch: Watch, broken: Callable[[str], None]) -> None:
        super().__init__()
        self._place = place
        self._doubles = doubles
        self._watch = watch
        self._broken = broken

    def dispatch(self, run: Run, flow: Flow, order: Dispatch, report: Report) -> None:
        node, attempt = order.node, order.attempt
        if not self._watch.was_ordered(
            run.id, node, back=order.back, attempt=attempt, dispatch=order.dispatch
        ):
            self._broken(f"run {run.id}: {node!r} attempt {attempt} started before that was durable")
        super().dispatch(run, flow, order, report)

    async def _run(
        self, function: StepFunction, context: StepContext, order: Dispatch, report: Report
    ) -> None:
        double = self._doubles.step(self._place, order.node, order.back, function)
        await super()._run(double, context, order, report)


def orchestrating(
    app: App,
    doubles: Doubles,
    *,
    live: Live,
    watch: Watch,
    broken: Callable[[str], None],
    clock: Callable[[], float],
    loop: VirtualLoop,
    partitions: int,
    workspace: str,
    lease: float,
) -> Role:
    """An orchestrator."""

    async def run(place: Place, bus: SimulatedBus, database: Database) -> None:
        orchestrator = Orchestrator(
            app.flows,
            bus=bus,
            database=database,
            live=live,
            check=app.registry.validate,
            read=app.registry.validate_read,
            upcasters=app.registry.upcasters,
            incarnation=place.incarnation,
            name=place.name,
            partitions=partitions,
            lease=lease,
            renew=lease / 5,
            prefetch=50,
            default_workspace=workspace,
            rng=place.chance.dice.random,
            clock=StoreClock(wall=lambda: clock() + place.clock_offset, steady=loop.time),
            executor=_WatchedExecutor(place, doubles, watch, broken),
        )
        await orchestrator.start()

    return run


def reacting(app: App, doubles: Doubles, *, live: Live, clock: Callable[[], float], workspace: str) -> Role:
    """Every reactor of the app, and every service that it sends commands to."""

    async def run(place: Place, bus: SimulatedBus, database: Database) -> None:
        runtime = ReactorRuntime(
            doubles.reactors(place, app),
            doubles.services(place, app),
            bus=bus,
            database=database,
            live=live,
            registry=app.registry,
            source=f"/{app.name}",
            incarnation=place.incarnation,
            default_workspace=workspace,
            clock=lambda: clock() + place.clock_offset,
            rng=place.chance.dice.random,
        )
        await runtime.start()

    return run


async def run_place(place: Place, role: Role, bus: SimulatedBus, engine: SimulatedEngine) -> None:
    """Start a process; one that can't start dies, and is started again like any other."""
    try:
        await role(place, bus, Database(engine))
    except AntiphonError as error:
        place.kill(f"while it started: {type(error).__name__}")
        await asyncio.get_running_loop().create_future()
