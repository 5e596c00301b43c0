"""One seed: a whole house, its trouble, and whether everything came to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from antiphon.testing.chance import FAULTS, Chance, Fault
from antiphon.testing.ground import Ground
from antiphon.testing.house import House
from antiphon.testing.loop import NothingLeft, VirtualLoop
from antiphon.testing.simulation import Invariant, Simulation, ask, last_words
from antiphon.testing.trouble import trouble
from contracts.errors import ConfigurationError

__all__ = ["Outcome", "World", "in_silence"]

LEASE = 5.0
TROUBLED = 25.0  # seconds in which things go wrong
_LOOK = 0.5
_DULL = 60.0  # seconds in which nobody did anything, and nothing is due: time enough for the reconciler


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one seed ended. ``broken`` is empty when every promise held."""

    seed: int
    broken: tuple[str, ...]
    story: str
    runs: dict[str, int] = field(default_factory=dict)  # status: how many
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0  # virtual

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        return not self.broken


class World:
    """Everything of one seed."""

    def __init__(
        self, simulation: Simulation, seed: int, ground: Ground, *, faults: Sequence[Fault] = FAULTS
    ) -> None:
        self.loop = VirtualLoop()
        self.chance = Chance.of(seed, faults)
        self.broken: list[str] = []
        self._simulation = simulation
        self._seed = seed
        self._stop: asyncio.Future[None] = self.loop.create_future()
        self.house = House(
            simulation.app,
            loop=self.loop,
            ground=ground,
            chance=self.chance,
            workspace=simulation.workspace,
            lease=LEASE,
            stand_ins=simulation.stand_ins,
            broken=self.report,
            committed=lambda: self._ask(simulation.invariants),
        )
        self.stage = self.house.stage

    def report(self, what: str) -> None:
        """A promise was broken: that ends the seed."""
        self.broken.append(what)
        self.house.story.tell("BROKEN", what)
        if not self._stop.done():
            self._stop.set_result(None)

    def run(self, runs: int) -> Outcome:
        """Play the seed to its end."""
        with in_silence():
            asyncio.set_event_loop(self.loop)
            try:
                self.loop.run_until_complete(self._play(runs))
            except NothingLeft:
                self.report("everybody waits, and nothing can ever happen again")
            finally:
                asyncio.set_event_loop(None)
                self.loop.end()
        statuses: dict[str, int] = {}
        for run in self.stage.runs.values():
            statuses[run.status] = statuses.get(run.status, 0) + 1
        struck = {str(fault): count for fault, count in self.chance.struck.items()}
        story = str(self.house.story)
        return Outcome(self._seed, tuple(self.broken), story, statuses, struck, round(self.loop.now, 3))

    # --- the course of it ---------------------------------------------------------------------

    async def _play(self, runs: int) -> None:
        simulation = self._simulation
        if simulation.prepare is not None:
            simulation.prepare(self.stage)
        await self.house.open(each=2)
        trouble(self.house)
        script = self.loop.create_task(self._follow(runs))
        await self._until(script.done, TROUBLED + simulation.patience, "the script to end")
        if script.done() and (error := script.exception()) is not None:
            if isinstance(error, ConfigurationError):
                raise error
            self.report(f"the script failed: {last_words(error)}")
        while self.loop.now < TROUBLED and not self._stop.done() and not self._at_rest():
            await self._pause()
        if self.broken:
            return
        if not self.chance.quiet:
            self.chance.quiet = True
            self.house.story.tell("world", "is calm from here on")
        await self._until(self._at_rest, simulation.patience, "everything to come to its end")
        self._check_the_end()

    async def _follow(self, runs: int) -> None:
        await self._simulation.script(self.stage, runs)
        await self.stage.all_done()

    async def _pause(self) -> None:
        await asyncio.wait({self._stop}, timeout=_LOOK)

    async def _until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for at most so many seconds, of which those do not count in which nothing is to happen."""
        end, dull = self.loop.now + seconds, 0.0
        while not self._stop.done() and not done():
            dull = dull + _LOOK if self.house.idle and self.house.next_due() is None else 0.0
            if self.loop.now >= end or dull > _DULL:
                open = "; ".join(self._open()) or "nothing"
                waited = seconds if dull <= _DULL else _DULL
                self.report(f"waited {waited:g} s in vain for {what}: {open}")
                return
            if self.loop.now > TROUBLED:
                end += self.house.leap()
            await self._pause()

    # --- what must hold -----------------------------------------------------------------------

    def _ask(self, invariants: Sequence[Invariant]) -> None:
        for sentence in ask(invariants, self.stage):
            self.report(sentence)

    def _open(self) -> list[str]:
        """What has not come to its end."""
        found = []
        runs = self.stage.runs
        for run_id, flow in self.stage.accepted.items():
            if run_id not in runs:
                found.append(f"run {run_id} of {flow} was accepted, and the journal has none")
        for run in runs.values():
            if not run.ended and not (self._simulation.may_stick and run.status == "stuck"):
                found.append(f"run {run.id} of {run.flow} is {run.status} ({run.waiting() or 'no reason'})")
        found += self.house.unsettled()
        posted = self.house.outbox
        if posted:
            found.append(f"{posted} messages are in the outbox")
        return found

    def _at_rest(self) -> bool:
        return not self._open() and self.house.broker.waiting == 0

    def _check_the_end(self) -> None:
        if self.broken:
            return
        for queue, reason, detail in self.stage.query("SELECT queue, reason, detail FROM quarantine"):
            self.report(f"a message was quarantined at {queue}: {reason}: {detail}")
        for sentence in self.house.unpublished():
            self.report(sentence)
        self._ask(self._simulation.at_the_end)
        for failure in self.loop.failures:
            self.report(f"the event loop was told of an error: {failure.get('message')}")


@contextmanager
def in_silence() -> Iterator[None]:
    """The story is what is told; the logs of some thousand houses are not."""
    kept = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**kept)
