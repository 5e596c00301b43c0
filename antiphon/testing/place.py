"""Where a simulated process stands: how it reaches the store and the bus, and what befalls it there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection

from antiphon.testing.broker import Broker, SimulatedSubscription
from antiphon.testing.chance import Chance
from antiphon.testing.loop import Life, VirtualLoop
from antiphon.testing.story import Story
from bus.port import Outgoing, Queue, QueueStats
from contracts.errors import BusError, BusUnavailable, PublishFailed, StoreUnavailable, Unroutable
from store.inline import InlineEngine

__all__ = ["Place", "SimulatedBus", "SimulatedEngine"]

T = TypeVar("T")

_NEAR, _FAR = 0.0005, 0.03  # seconds to the store or the bus and back


class Place:
    """One incarnation of a process. ``died`` is called once, by whatever kills it."""

    def __init__(self, name: str, number: int, chance: Chance, story: Story) -> None:
        self.name = name
        self.incarnation = f"{name}.{number}"
        self.life = Life(self.incarnation)
        self.chance = chance
        self.story = story
        self.mortal = True
        self.died: Callable[[Place], None] = lambda place: None
        self.clock_offset = 0.0
        self.stall: Callable[[], None] | None = None
        self._cut_off_until = 0.0

    @property
    def reachable(self) -> bool:
        """Whether it runs, and is not cut off."""
        cut = self._cut_off_until > asyncio.get_running_loop().time()
        return not (self.life.dead or self.life.frozen or cut)

    def cut_off(self, seconds: float) -> None:
        """The network takes its time: what it asks now is answered when it is over."""
        self.story.tell(self.incarnation, f"is cut off for {seconds:.1f} s")
        self._cut_off_until = asyncio.get_running_loop().time() + seconds

    def freeze(self, loop: VirtualLoop, seconds: float) -> None:
        """Nothing of it goes on for a while, like between SIGSTOP and SIGCONT."""
        self.story.tell(self.incarnation, f"stands still for {seconds:.1f} s")
        self.life.frozen = True
        # In nobody's context: what stands still sets no timers.
        loop.call_later(seconds, self._go_on, loop, context=Context())

    def _go_on(self, loop: VirtualLoop) -> None:
        if not self.life.dead:
            self.story.tell(self.incarnation, "goes on")
            self.life.thaw(loop)

    async def may_stall(self) -> None:
        """A point at which it may be held up, if it is to be."""
        if self.stall is not None and self.chance.dice.random() < 0.5:
            stall, self.stall = self.stall, None
            stall()
            await self.travel()

    async def travel(self) -> None:
        """To the other side, or back."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.chance.between(_NEAR, _FAR))
        while self._cut_off_until > loop.time():  # noqa: ASYNC110 - it may be prolonged meanwhile
            await asyncio.sleep(self._cut_off_until - loop.time())

    def kill(self, why: str) -> None:
        """Nothing of it goes on."""
        if not self.life.dead:
            self.life.dead = True
            self.story.tell(self.incarnation, f"crashed {why}")
            self.died(self)

    async def may_die(self, where: str) -> None:
        """A crash point."""
        if self.mortal and self.chance.strikes("crash"):
            self.kill(where)
            await asyncio.get_running_loop().create_future()


class SimulatedEngine:
    """See ``store.engine.Engine``. ``committed`` is told of each commit, and by whom."""

    dialect = "sqlite"
    writers = 1
    single = None

    def __init__(self, place: Place, inner: InlineEngine, committed: Callable[[Place], None]) -> None:
        self._place = place
        self._inner = inner
        self._committed = committed

    async def transact(self, work: Callable[[Connection], T]) -> T:
        place = self._place
        await place.travel()
        if place.chance.strikes("store-error"):
            place.story.tell(place.incarnation, "got no answer from the store; nothing was committed")
            raise StoreUnavailable("simulated: the store did not answer, and nothing was committed")
        await place.may_die("before a commit")
        await place.may_stall()
        result = self._inner.transact_now(work)
        self._committed(place)
        await place.may_die("after a commit")
        await place.travel()
        if place.chance.strikes("lost-reply"):
            place.story.tell(place.incarnation, "got no answer from the store; it had committed")
            raise StoreUnavailable("simulated: the store committed, and its answer was lost")
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        place = self._place
        await place.travel()
        if place.chance.strikes("store-error"):
            place.story.tell(place.incarnation, "could not read from the store")
            raise StoreUnavailable("simulated: the store did not answer")
        result = self._inner.read_now(work)
        await place.travel()
        return result

    def now(self) -> ColumnElement[float]:
        return self._inner.now()

    async def close(self) -> None:
        """The store goes on without this process."""


class SimulatedBus:
    """See ``bus.port.Bus``. ``publishing`` sees each message before the broker has it."""

    def __init__(self, place: Place, broker: Broker, publishing: Callable[[Place, Outgoing], None]) -> None:
        self._place = place
        self._broker = broker
        self._publishing = publishing

    async def start(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        self._broker.drop(self._place.life)

    async def declare(self, *queues: Queue) -> None:
        for queue in queues:
            self._broker.declare(queue)

    async def publish(self, *outgoing: Outgoing, timeout: float | None = None) -> None:
        if not outgoing:
            return
        place = self._place
        await place.travel()
        if place.chance.strikes("lost-reply"):
            place.story.tell(place.incarnation, f"could not publish {_ids(outgoing)}")
            raise PublishFailed(_all(outgoing, "simulated: the broker could not be reached"))
        await place.may_die("before a publish")
        errors: dict[int, BusError] = {}
        for index, out in enumerate(outgoing):
            self._publishing(place, out)
            if not self._broker.take(out) and out.mandatory:
                errors[index] = Unroutable(f"message {out.message.id!r} reached no queue")
        await place.may_die("after a publish")
        await place.travel()
        if place.chance.strikes("lost-reply"):
            place.story.tell(place.incarnation, f"got no confirm for {_ids(outgoing)}; the broker has it")
            errors = {**_all(outgoing, "simulated: the confirm was lost"), **errors}
        if errors:
            raise PublishFailed(errors)

    async def subscribe(self, queue: str, *, prefetch: int) -> SimulatedSubscription:
        return self._broker.subscribe(queue, self._place.life, prefetch, self._before_ack)

    async def stats(self, queue: str) -> QueueStats:
        line = self._broker.line(queue)
        return QueueStats(len(line), line.unsettled, len(line.subscriptions), None)

    async def purge(self, queue: str) -> int:
        return len(self._broker.line(queue).empty())

    @property
    def state(self) -> str:
        return "connected"

    async def _before_ack(self, count: int) -> bool:
        place = self._place
        await place.may_die("before an ack")
        if place.chance.strikes("duplicate"):
            place.story.tell(place.incarnation, f"lost an ack of {count}: they come again")
            return False
        return True


def _all(outgoing: Sequence[Outgoing], reason: str) -> dict[int, BusError]:
    return {index: BusUnavailable(reason) for index in range(len(outgoing))}


def _ids(outgoing: Sequence[Outgoing]) -> str:
    return ", ".join(out.message.id for out in outgoing)
