"""One seed: a whole house, its trouble, and whether everything came to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from antiphon.testing.broker import Broker
from antiphon.testing.chance import FAULTS, Chance, Fault
from antiphon.testing.loop import NothingLeft, VirtualLoop
from antiphon.testing.place import Place, SimulatedBus, SimulatedEngine
from antiphon.testing.processes import Role, orchestrating, reacting, run_place
from antiphon.testing.simulation import Invariant, Simulation
from antiphon.testing.stage import Stage
from antiphon.testing.story import Story
from antiphon.testing.trouble import trouble
from antiphon.testing.watch import TRIGGERS, Watch
from bus.port import COMMANDS, EVENTS, Outgoing
from orchestrator.client import Client
from orchestrator.leases import make_partitions
from orchestrator.runtime import queues_of
from store import tables
from store.database import Database
from store.inline import InlineEngine
from store.live.memory import MemoryLive

__all__ = ["EPOCH", "Ground", "Outcome", "World"]

EPOCH = 1_750_000_000.0  # seconds: when every simulation begins
PARTITIONS = 3
LEASE = 5.0
TROUBLED = 25.0  # seconds in which things go wrong
_LOOK = 0.5


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


class Ground:
    """The store of all the seeds of one process: made once, and put back as it was for each of them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.engine = InlineEngine(clock=lambda: self.now)
        self.engine.transact_now(_make)
        self.engine.raw.executescript(TRIGGERS)
        self._image = self.engine.image()

    def fresh(self) -> InlineEngine:
        """The empty store."""
        self.engine.load(self._image)
        return self.engine

    def close(self) -> None:
        """Let go of the store."""
        self.engine.close_now()


class World:
    """Everything of one seed."""

    def __init__(
        self, simulation: Simulation, seed: int, ground: Ground, *, faults: Sequence[Fault] = FAULTS
    ) -> None:
        self.loop = VirtualLoop()
        self.chance = Chance.of(seed, faults)
        self.story = Story(self.loop.time)
        self.broken: list[str] = []
        self.places: dict[str, Place] = {}
        self._simulation = simulation
        self._seed = seed
        self._engine = ground.fresh()
        self._engine.clock = self.clock
        self._stop: asyncio.Future[None] = self.loop.create_future()
        app = simulation.app
        self.watch = Watch(self._engine.raw, app.catalog, self.story.tell, self.report)
        self.broker = Broker(self.chance, self.story, self.clock)
        self.broker.sent = self._sent
        self.live = MemoryLive(clock=self.clock)
        self.stage = Stage(
            app, simulation.workspace, self.chance.dice, self.clock, self.watch, self.story.tell
        )
        self._events: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._numbers: dict[str, int] = {}
        self._roles: dict[str, Role] = {}
        self._started: list[Place] = []

    def clock(self) -> float:
        """Seconds since the epoch, by the world's own clock."""
        return EPOCH + self.loop.now

    def report(self, what: str) -> None:
        """A promise was broken: that ends the seed."""
        self.broken.append(what)
        self.story.tell("BROKEN", what)
        if not self._stop.done():
            self._stop.set_result(None)

    def run(self, runs: int) -> Outcome:
        """Play the seed to its end."""
        with _silence():
            asyncio.set_event_loop(self.loop)
            try:
                self.loop.run_until_complete(self._play(runs))
            except NothingLeft:
                self.report("everybody waits, and nothing can ever happen again")
            finally:
                asyncio.set_event_loop(None)
                self.loop.end()
        statuses: dict[str, int] = {}
        for run in self.watch.runs.values():
            statuses[run.status] = statuses.get(run.status, 0) + 1
        struck = {str(fault): count for fault, count in self.chance.struck.items()}
        return Outcome(
            self._seed, tuple(self.broken), str(self.story), statuses, struck, round(self.loop.now, 3)
        )

    # --- the course of it ---------------------------------------------------------------------

    async def _play(self, runs: int) -> None:
        simulation, app = self._simulation, self._simulation.app
        if simulation.prepare is not None:
            simulation.prepare(self.stage)
        for queue in queues_of(app.catalog, PARTITIONS):
            self.broker.declare(queue)
        for queue in [
            *(reactor.queue() for reactor in app.reactors),
            *(service.queue() for service in app.services),
        ]:
            self.broker.declare(queue)
        self._hire()
        await self._open_the_door()
        trouble(self)
        script = self.loop.create_task(self._follow(runs))
        await self._until(script.done, TROUBLED + simulation.patience, "the script to end")
        if script.done() and (error := script.exception()) is not None:
            raise error
        if self.broken:
            return
        while self.loop.now < TROUBLED and not self._stop.done() and not self._at_rest():
            await self._pause()
        self.calm()
        await self._until(self._at_rest, simulation.patience, "everything to come to its end")
        self._check_the_end()

    async def _follow(self, runs: int) -> None:
        await self._simulation.script(self.stage, runs)
        await self.stage.all_done()

    def _hire(self) -> None:
        app, simulation = self._simulation.app, self._simulation
        calling = orchestrating(
            app,
            live=self.live,
            watch=self.watch,
            broken=self.report,
            clock=self.clock,
            loop=self.loop,
            partitions=PARTITIONS,
            workspace=simulation.workspace,
            lease=LEASE,
        )
        answering = reacting(app, live=self.live, clock=self.clock, workspace=simulation.workspace)
        self._roles = {"orchestrator-a": calling, "orchestrator-b": calling}
        if app.reactors or app.services:
            self._roles |= {"reactors-a": answering, "reactors-b": answering}
        for name in self._roles:
            self.begin(name)

    async def _open_the_door(self) -> None:
        """The gateway's client: it is never killed, so that somebody remembers what was accepted."""
        place = self._place("gateway")
        place.mortal = False
        bus = self._bus(place)
        client = Client(
            self._simulation.app.flows,
            bus=bus,
            database=Database(SimulatedEngine(place, self._engine, self.committed)),
            live=self.live,
            check=self._simulation.app.registry.validate,
            incarnation=place.incarnation,
            partitions=PARTITIONS,
            clock=self.clock,
        )
        await client.start_listening()
        self.stage.open(client, bus)

    def begin(self, name: str) -> None:
        """Start a process, or start it again."""
        place = self._place(name)
        place.died = self._bury
        self.places[name] = place
        self.story.tell(place.incarnation, "started")
        engine = SimulatedEngine(place, self._engine, self.committed)
        self.loop.spawn(
            place.life, run_place(place, self._roles[name], self._bus(place), engine, self._started)
        )

    def calm(self) -> None:
        """No more trouble: what is frozen or cut off goes on."""
        if not self.chance.quiet:
            self.chance.quiet = True
            self.story.tell("world", "is calm from here on")

    def _bury(self, place: Place) -> None:
        self.broker.drop(place.life)
        down = self.chance.between(0.2, 4.0)
        # In nobody's context: the dead set no timers.
        self.loop.call_later(down, self.begin, place.name, context=Context())

    def _place(self, name: str) -> Place:
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        return Place(name, number, self.chance, self.story)

    def _bus(self, place: Place) -> SimulatedBus:
        return SimulatedBus(place, self.broker, self._publishing)

    async def _pause(self) -> None:
        await asyncio.wait({self._stop}, timeout=_LOOK)

    async def _until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        end = self.loop.now + seconds
        while not self._stop.done() and not done():
            if self.loop.now >= end:
                self.report(
                    f"waited {seconds:g} s in vain for {what}: {'; '.join(self._open()) or 'nothing'}"
                )
                return
            await self._pause()

    # --- what must hold -----------------------------------------------------------------------

    def committed(self, place: Place) -> None:
        """A process has committed something."""
        if self.watch.look(place.incarnation, place.incarnation):
            self._ask(self._simulation.invariants)

    def _ask(self, invariants: Sequence[Invariant]) -> None:
        for invariant in invariants:
            for sentence in invariant(self.stage):
                self.report(sentence)

    def _publishing(self, place: Place, out: Outgoing) -> None:
        if not place.name.startswith("orchestrator") or out.exchange not in (EVENTS, COMMANDS):
            return
        message = out.message
        if not self.watch.was_posted(message.id, out.exchange, out.routing_key, message.body):
            self.report(f"{out.routing_key} {message.id} was published, and was never committed so")

    def _sent(self, out: Outgoing) -> None:
        if out.exchange != EVENTS:
            return
        message = out.message
        key = (str(message.headers.get("cloudEvents:source", "")), message.id)
        content = (out.routing_key, message.body)
        if key not in self._events:
            self.story.tell("broker", f"has {out.routing_key} {message.id}")
        if self._events.setdefault(key, content) != content:
            self.report(f"event {message.id} was published twice, with different content")

    def _open(self) -> list[str]:
        """What has not come to its end."""
        found = []
        for run_id, flow in self.stage.accepted.items():
            run = self.watch.runs.get(run_id)
            if run is None:
                found.append(f"run {run_id} of {flow} was accepted, and the journal has none")
            elif not run.ended and not (self._simulation.may_stick and run.status == "stuck"):
                found.append(f"run {run_id} of {flow} is {run.status} ({run.waiting() or 'no reason'})")
        for run in self.watch.runs.values():
            if run.id not in self.stage.accepted and not run.ended and run.status != "stuck":
                found.append(f"run {run.id} of {run.flow} is {run.status}")
        for (source, id), (type, _) in self._events.items():
            found += [
                f"reactor {reactor.name} has not settled {type} {id}"
                for reactor in self._simulation.app.reactors
                if type in (*reactor.types, *reactor.older)
                and not self.watch.settled((reactor.name, source, id))
            ]
        posted = self._engine.raw.execute("SELECT count(*) FROM outbox").fetchone()[0]
        if posted:
            found.append(f"{posted} messages are in the outbox")
        return found

    def _at_rest(self) -> bool:
        return not self._open() and self.broker.waiting == 0

    def _check_the_end(self) -> None:
        if self.broken:
            return
        quarantined = self._engine.raw.execute("SELECT queue, reason, detail FROM quarantine").fetchall()
        for queue, reason, detail in quarantined:
            self.report(f"a message was quarantined at {queue}: {reason}: {detail}")
        self._ask(self._simulation.at_the_end)
        for failure in self.loop.failures:
            self.report(f"the event loop was told of an error: {failure.get('message')}")


def _make(connection: Connection) -> None:
    tables.metadata.create_all(connection)
    make_partitions(connection, PARTITIONS)


@contextmanager
def _silence() -> Iterator[None]:
    """The story is what is told; the logs of some thousand houses are not."""
    kept = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**kept)
