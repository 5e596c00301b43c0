"""A whole house in one process and in virtual time: store, bus, orchestrators, reactors and services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any

from sqlalchemy import Connection

from antiphon.app import App
from antiphon.testing.broker import Broker
from antiphon.testing.chance import Chance
from antiphon.testing.doubles import Doubles
from antiphon.testing.ground import Ground
from antiphon.testing.live import SimulatedLive
from antiphon.testing.loop import VirtualLoop, living
from antiphon.testing.place import Place, SimulatedBus, SimulatedEngine
from antiphon.testing.processes import Role, orchestrating, reacting, run_place
from antiphon.testing.stage import Stage
from antiphon.testing.story import Story
from antiphon.testing.watch import Watch
from bus.port import COMMANDS, EVENTS, Outgoing
from orchestrator.client import Client
from orchestrator.leases import leave, release
from orchestrator.runtime import queues_of
from reactors.dead_letters import DeadLetters
from store.database import Database

__all__ = ["EPOCH", "House"]

EPOCH = 1_750_000_000.0  # seconds: when every house begins
_FOR_EVER = 100 * 365 * 86400.0
_SHORTLY = 3.0  # seconds before something is due, in which the house awakes
_WORTH_IT = 5.0  # seconds: a leap over fewer is none


class House:
    """Stands on ``ground``, and has what goes wrong from ``chance``.

    ``broken`` is told of each promise that does not hold; ``committed`` of each commit that changed
    anything. ``lease``: seconds for which an owner that is gone keeps its partitions; None spares the house
    all that has to do with leases, and who takes over does so at once.
    """

    def __init__(
        self,
        app: App,
        *,
        loop: VirtualLoop,
        ground: Ground,
        chance: Chance,
        workspace: str,
        lease: float | None,
        stand_ins: Mapping[str, Callable[..., Any]],
        broken: Callable[[str], None],
        committed: Callable[[], None],
    ) -> None:
        self.app = app
        self.loop = loop
        self.chance = chance
        self.story = Story(self._elapsed)
        loop.refused = self.story.tell
        self.places: dict[str, Place] = {}
        self.store_offset = 0.0  # seconds by which the store's clock is off
        self.offsets: dict[str, float] = {}  # the same of the machine of each process
        self.events: dict[tuple[str, str], tuple[str, bytes]] = {}  # source and id: type and content
        self._began = loop.time()
        self._lease = lease
        self._workspace = workspace
        self._broken = broken
        self._announce = committed
        self._partitions = ground.partitions
        self._engine = ground.fresh()
        self._engine.clock = lambda: self.clock() + self.store_offset
        self.watch = Watch(self._engine.raw, app.catalog, self.story.tell, broken)
        self.broker = Broker(chance, self.story, self.clock)
        self.broker.sent = self._sent
        self.live = SimulatedLive(chance, self.story, self.clock)
        self.stage = Stage(app, workspace, chance.dice, self.clock, self.watch, self.story.tell)
        self.doubles = Doubles(app, stand_ins)
        self._numbers: dict[str, int] = {}
        self._roles: dict[str, Role] = {}
        self._down: set[str] = set()

    def clock(self) -> float:
        """Seconds since the epoch, by the world's own clock."""
        return EPOCH + self._elapsed()

    def _elapsed(self) -> float:
        return self.loop.time() - self._began

    # --- processes ----------------------------------------------------------------------------

    async def open(self, *, each: int) -> None:
        """Start ``each`` processes of each role, and the client that asks things of them."""
        app, services = self.app, self.doubles.services(self._place("nobody"), self.app)
        for queue in [
            *queues_of(app.catalog, self._partitions),
            *(reactor.queue() for reactor in app.reactors),
            *(service.queue() for service in services),
        ]:
            self.broker.declare(queue)
        calling = orchestrating(
            app,
            self.doubles,
            live=self.live,
            watch=self.watch,
            broken=self._broken,
            clock=self.clock,
            loop=self.loop,
            partitions=self._partitions,
            workspace=self._workspace,
            lease=self._lease or _FOR_EVER,
        )
        answering = reacting(app, self.doubles, live=self.live, clock=self.clock, workspace=self._workspace)
        letters = "abcdefghijklmnopqrstuvwxyz"[:each]
        self._roles = {f"orchestrator-{letter}": calling for letter in letters}
        if app.reactors or services:
            self._roles |= {f"reactors-{letter}": answering for letter in letters}
        for name in self._roles:
            self.begin(name)
        await self._open_the_door()

    async def _open_the_door(self) -> None:
        """The gateway's client: it is never killed, so that somebody remembers what was accepted."""
        place = self._place("gateway")
        place.mortal = False
        bus = SimulatedBus(place, self.broker, self._publishing)
        database = Database(SimulatedEngine(place, self._engine, self._committed))
        self.letters = DeadLetters(database, bus, self.app.registry)
        client = Client(
            self.app.flows,
            bus=bus,
            database=database,
            live=self.live,
            check=self.app.registry.validate,
            incarnation=place.incarnation,
            partitions=self._partitions,
            clock=self.clock,
        )
        with living(place.life):
            await client.start_listening()
        self.stage.open(client, bus)

    def begin(self, name: str) -> None:
        """Start a process, or start it again."""
        place = self._place(name)
        place.died = self._bury
        place.clock_offset = self.offsets.get(name, 0.0)
        self.places[name] = place
        self._down.discard(name)
        self.story.tell(place.incarnation, "started")
        engine = SimulatedEngine(place, self._engine, self._committed)
        bus = SimulatedBus(place, self.broker, self._publishing)
        self.loop.spawn(place.life, run_place(place, self._roles[name], bus, engine))

    async def close(self) -> None:
        """Let nobody go on."""
        for place in self.places.values():
            place.life.dead = True
        await self.stage.client.close()

    def _bury(self, place: Place) -> None:
        self.broker.drop(place.life)
        self._down.add(place.name)
        if self._lease is None:
            self._engine.transact_now(lambda connection: self._disown(connection, place.incarnation))
        # In nobody's context: the dead set no timers.
        self.loop.call_later(self.chance.between(0.2, 4.0), self.begin, place.name, context=Context())

    def _disown(self, connection: Connection, owner: str) -> None:
        release(connection, owner, range(self._partitions))
        leave(connection, owner)

    def _place(self, name: str) -> Place:
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        return Place(name, number, self.chance, self.story)

    # --- what is still to come ----------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nobody has anything in hand: all that can still happen has a time when it is due."""
        return (
            not self._down
            and self.broker.waiting == self.broker.under_way
            and not self.outbox
            and not any(run.busy for run in self.watch.runs.values())
            and all(place.reachable for place in self.places.values())
        )

    @property
    def outbox(self) -> int:
        """Messages that are committed, and not known to be published."""
        return int(self.watch.tables("SELECT count(*) FROM outbox")[0][0])

    def next_due(self) -> float | None:
        """When, on the loop's clock, the next timer is due, a delayed message arrives or a sleeper wakes."""
        times = [each[0] - EPOCH + self._began - self.store_offset for each in self._timers() if each[0]]
        others = (self.broker.next_arrival(), self.stage.next_waking(), self.loop.next_of_nobody())
        times += [when for when in others if when is not None]
        return min(times, default=None)

    def _timers(self) -> Sequence[tuple[float | None]]:
        return self.watch.tables("SELECT min(due_at) FROM timers")

    def leap(self, until: float = float("inf")) -> float:
        """Let the time pass at once in which nothing would happen; how many seconds that were.

        It ends shortly before something is due. Everybody then sees that much time gone, as after a night
        in which the machines were asleep.
        """
        due = self.next_due()
        target = min(until, due - _SHORTLY if due is not None else until)
        seconds = target - self.loop.time()
        if target == float("inf") or seconds <= _WORTH_IT or not self.idle:
            return 0.0
        self.loop.now = target
        return seconds

    # --- what must hold -----------------------------------------------------------------------

    def _committed(self, place: Place) -> None:
        if self.watch.look(place.incarnation, place.incarnation):
            self._announce()

    def _publishing(self, place: Place, out: Outgoing) -> None:
        if not place.name.startswith("orchestrator") or out.exchange not in (EVENTS, COMMANDS):
            return
        message = out.message
        if not self.watch.was_posted(message.id, out.exchange, out.routing_key, message.body):
            self._broken(f"{out.routing_key} {message.id} was published, and was never committed so")

    def _sent(self, out: Outgoing, heard: bool) -> None:
        if out.exchange != EVENTS:
            return
        message = out.message
        key = (str(message.headers.get("cloudEvents:source", "")), message.id)
        content = (out.routing_key, message.body)
        if key not in self.events:
            whom = "" if heard else ", and nobody listens to it"
            self.story.tell("broker", f"has {out.routing_key} {message.id}{whom}")
        if self.events.setdefault(key, content) != content:
            self._broken(f"event {message.id} was published twice, with different content")

    def unsettled(self) -> list[str]:
        """Which reactor has not settled what it is to react to, in words."""
        return [
            f"reactor {reactor.name} has not settled {type} {id}"
            for (source, id), (type, _) in self.events.items()
            for reactor in self.app.reactors
            if type in (*reactor.types, *reactor.older) and not self.watch.settled((reactor.name, source, id))
        ]

    def unpublished(self) -> list[str]:
        """Which event was committed as said, and never reached the broker, in words."""
        said = self.watch.tables("SELECT source, id, type FROM events ORDER BY at, source, id")
        return [
            f"event {type} {id} was committed, and never published"
            for source, id, type in said
            if (source, id) not in self.events
        ]
