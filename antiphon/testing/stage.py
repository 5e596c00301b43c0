"""What a script, a preparation and an invariant see of a simulated house."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from antiphon.app import App
from antiphon.testing.watch import Watch
from bus.envelope import publication
from bus.port import Bus
from contracts.envelope import Event
from contracts.errors import BusError, PublishFailed, RunEnded, RunNotFound, StoreError, Unroutable
from orchestrator.client import Client
from orchestrator.durations import Duration, seconds
from orchestrator.facts import Fact
from orchestrator.run import Run

__all__ = ["Stage"]

_AGAIN = 0.3


class Stage:
    """One seed's house, from outside. All of it is in virtual time, and drawn from ``chance`` alone."""

    def __init__(
        self,
        app: App,
        workspace: str,
        chance: random.Random,
        clock: Callable[[], float],
        watch: Watch,
        tell: Callable[[str, str], None],
    ) -> None:
        self.app = app
        self.workspace = workspace
        self.chance = chance
        self.clock = clock
        self.accepted: dict[str, str] = {}  # run id: flow
        self.memory: dict[str, Any] = {}  # for the user: what prepare() made and invariants look at
        self._watch = watch
        self._tell = tell
        self._count = 0
        self._sleeping: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._client: Client | None = None
        self._bus: Bus | None = None

    def open(self, client: Client, bus: Bus) -> None:
        """From here on something can be asked."""
        self._client, self._bus = client, bus

    @property
    def runs(self) -> Mapping[str, Run]:
        """Every run in the journal, by id."""
        return self._watch.runs

    def facts(self, run: Run) -> list[Fact]:
        """A run's history, the oldest fact first."""
        return self._watch.facts(run.id, run.created_at)

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the store itself, in SQL."""
        return self._watch.tables(statement, *parameters)

    @property
    def client(self) -> Client:
        """What asks things of runs. Raises RuntimeError before the house is open."""
        if self._client is None:
            raise RuntimeError("nothing can be asked before the house is open: use the script for that")
        return self._client

    async def sleep(self, duration: Duration) -> None:
        """Let time pass: seconds, or ``"2h"``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (seconds(duration) if duration else 0.0)
        self._sleeping.append(until)
        try:
            await asyncio.sleep(until - loop.time())
        finally:
            self._sleeping.remove(until)

    def next_waking(self) -> float | None:
        """When, on the loop's clock, the next sleeper wakes.

        One whose time is over and that is still there slept in a process that is gone: it wakes never.
        """
        now = asyncio.get_running_loop().time()
        return min((until for until in self._sleeping if until > now), default=None)

    def go(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside the rest of the script."""
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def all_done(self) -> None:
        """Return when everything that was begun with ``go`` has ended. Raises what one of it raised."""
        while self._tasks:
            await self._tasks.pop(0)

    async def start(self, flow: str, input: dict[str, Any]) -> str:
        """Start a run, again and again until the bus has confirmed it; the run's id."""
        client = self.client
        start_id = self.next_id("start")
        while True:
            try:
                receipt = await client.start(self.workspace, flow, input, start_id=start_id, wait=1.0)
            except (BusError, StoreError):
                await asyncio.sleep(_AGAIN)
                continue
            self._tell("caller", f"started {flow}: run {receipt.run_id} {receipt.outcome}")
            self.accepted[receipt.run_id] = flow
            return receipt.run_id

    async def publish(self, type: str, data: Any, *, id: str | None = None) -> str:
        """Publish an event from outside until the bus has confirmed it, or nobody listens to it; its id."""
        event_id = id or self.next_id("event")
        event = Event.create(
            type, data, id=event_id, source="/outside", at=self.clock(), workspace=self.workspace
        )
        bus = self._bus
        while bus is not None:
            try:
                await bus.publish(publication(event))
                break
            except BusError as error:
                if _nobody_listens(error):
                    break  # nor will anybody: queues are made when the house opens
                await asyncio.sleep(_AGAIN)
        self._tell("caller", f"published {type} {event_id}")
        return event_id

    async def signal(self, run_id: str, name: str, data: Any) -> None:
        """Tell a run something by name, once it is there; one that has ended is left alone."""
        client, signal_id = self.client, self.next_id("signal")
        while True:
            try:
                await client.signal(
                    self.workspace, run_id, name, data, signal_id=signal_id, actor="simulation"
                )
                return
            except RunEnded:
                return
            except (BusError, StoreError, RunNotFound):
                await asyncio.sleep(_AGAIN)

    async def cancel(self, run_id: str) -> None:
        """Ask for a run to be undone; one that can't be is left alone."""
        await self._ask(self.client.cancel, run_id)

    async def pause(self, run_id: str) -> None:
        """Let a run start nothing new; one that has ended is left alone."""
        await self._ask(self.client.pause, run_id)

    async def resume(self, run_id: str) -> None:
        """Let a paused run go on; one that has ended is left alone."""
        await self._ask(self.client.resume, run_id)

    async def _ask(self, verb: Callable[..., Awaitable[None]], run_id: str) -> None:
        while True:
            try:
                await verb(self.workspace, run_id, reason="simulated", actor="simulation")
                return
            except RunEnded:
                return
            except (BusError, StoreError, RunNotFound):
                await asyncio.sleep(_AGAIN)

    def next_id(self, what: str) -> str:
        """An id that was not given before."""
        self._count += 1
        return f"{what}-{self._count}"


def _nobody_listens(error: BusError) -> bool:
    return isinstance(error, PublishFailed) and isinstance(error.errors.get(0), Unroutable)
