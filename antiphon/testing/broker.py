"""A broker in memory with the promises of ``bus.port``, and with all the trouble that they allow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context

from antiphon.testing.chance import Chance
from antiphon.testing.loop import Life
from antiphon.testing.story import Story
from bus.dead import dead_copy, dead_name
from bus.embedded.line import Line
from bus.embedded.record import Record
from bus.embedded.routes import Routes
from bus.port import DIRECT, Delivery, Outgoing, Queue
from bus.routing import check_outgoing, check_queue
from contracts.errors import ConfigurationError

__all__ = ["Broker", "SimulatedSubscription"]

_LONG = 4.0  # seconds that a delayed message takes at the most, or waits for one that overtakes it
_NOBODY = Context()  # what the broker does goes on whoever dies


class Broker:
    """The queues. ``sent`` is told of each message that was published, and whether any queue wanted it."""

    def __init__(self, chance: Chance, story: Story, clock: Callable[[], float]) -> None:
        self.sent: Callable[[Outgoing, bool], None] = lambda out, heard: None
        self._chance = chance
        self._story = story
        self._clock = clock
        self._lines: dict[str, Line] = {}
        self._routes = Routes()
        self._count = 0
        self._aside: dict[str, list[Record]] = {}  # by queue, what waits to be overtaken; delayed as well
        self._subscriptions: list[SimulatedSubscription] = []
        self._arrivals: dict[Record, float] = {}  # delayed, and when they arrive by the loop's clock

    @property
    def under_way(self) -> int:
        """Messages that are delayed."""
        return len(self._arrivals)

    @property
    def waiting(self) -> int:
        """Messages that are ready, in somebody's hands, or on their way."""
        return self.under_way + sum(len(line) + line.unsettled for line in self._lines.values())

    def next_arrival(self) -> float | None:
        """When, on the loop's clock, the next delayed message arrives."""
        return min(self._arrivals.values(), default=None)

    def declare(self, queue: Queue) -> None:
        """Make a queue, its dead queue, and the bindings."""
        check_queue(queue)
        for name, single in ((queue.name, queue.single_active), (dead_name(queue.name), False)):
            if name not in self._lines:
                self._lines[name] = Line(name, single_active=single)
        for binding in queue.bindings:
            self._routes.add(binding.exchange, binding.pattern, queue.name)

    def line(self, queue: str) -> Line:
        """A queue. Raises ConfigurationError when there is none of that name."""
        if queue not in self._lines:
            raise ConfigurationError(f"there is no queue {queue!r}; declare it first")
        return self._lines[queue]

    def take(self, out: Outgoing) -> bool:
        """Take a message, for good; false when no queue wants it."""
        check_outgoing(out)
        queues = self._queues(out)
        for queue in queues:
            self._file(out, queue)
            if self._chance.strikes("duplicate"):
                self._story.tell("broker", f"duplicates {out.message.id} in {queue}")
                self._file(out, queue)
        self.sent(out, bool(queues))
        return bool(queues)

    def subscribe(
        self, queue: str, life: Life, prefetch: int, before_ack: Callable[[int], Awaitable[bool]]
    ) -> SimulatedSubscription:
        """A new consumer of a queue, in a process. ``before_ack`` says whether an ack arrives."""
        subscription = SimulatedSubscription(self, self.line(queue), life, prefetch, before_ack)
        self._subscriptions.append(subscription)
        return subscription

    def drop(self, life: Life) -> None:
        """The connection of a process is gone: what it held comes again."""
        for subscription in [each for each in self._subscriptions if each.life is life]:
            subscription.leave()

    def lose(self, life: Life, seconds: float) -> None:
        """The connection of a process that lives on is gone for a while: what it held comes again."""
        lost = [each for each in self._subscriptions if each.life is life]
        for subscription in lost:
            subscription.lose()
        asyncio.get_running_loop().call_later(seconds, self._find_again, lost, context=_NOBODY)

    def _find_again(self, lost: Sequence[SimulatedSubscription]) -> None:
        for subscription in lost:
            if subscription in self._subscriptions:
                subscription.find_again()

    def left(self, subscription: SimulatedSubscription) -> None:
        """A subscription has ended."""
        self._subscriptions.remove(subscription)

    def bury(self, deliveries: Sequence[Delivery]) -> None:
        """Move these to the dead queue."""
        for delivery in deliveries:
            copy = dead_copy(delivery)
            self._file(copy, copy.routing_key)

    def _queues(self, out: Outgoing) -> Sequence[str]:
        if out.exchange == DIRECT:
            return (out.routing_key,) if out.routing_key in self._lines else ()
        return self._routes.find(out.exchange, out.routing_key)

    def _file(self, out: Outgoing, queue: str) -> None:
        line, now = self._lines[queue], self._clock()
        late, aside = out.delay, False
        if not line.single_active:
            # Only where the port promises no order.
            aside = late <= 0 and self._chance.tempts("reorder")
            if aside:
                late = self._chance.between(0.0, _LONG)
            elif self._chance.strikes("delay"):
                late += self._chance.between(0.1, _LONG)
        record = Record(self._next(), queue, out.exchange, out.routing_key, now + late, message=out.message)
        if late > 0:
            loop = asyncio.get_running_loop()
            self._arrivals[record] = loop.time() + late
            loop.call_at(self._arrivals[record], self._arrive, line, record, context=_NOBODY)
            if aside:
                self._aside.setdefault(queue, []).append(record)
            return
        line.put((record,))
        for overtaken in self._aside.pop(queue, ()):
            if overtaken in self._arrivals:
                self._chance.count("reorder")
                overtaken.seq, overtaken.available_at = self._next(), now
                self._arrive(line, overtaken)

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _arrive(self, line: Line, record: Record) -> None:
        if self._arrivals.pop(record, None) is not None:
            line.put((record,))


class SimulatedSubscription:
    """See ``bus.port.Subscription``."""

    def __init__(
        self,
        broker: Broker,
        line: Line,
        life: Life,
        prefetch: int,
        before_ack: Callable[[int], Awaitable[bool]],
    ) -> None:
        self.life = life
        self._broker = broker
        self._line = line
        self._prefetch = prefetch
        self._before_ack = before_ack
        self._held: dict[Delivery, Record] = {}
        self._woken = asyncio.Event()
        self._closed = False
        self._lost = False
        line.join(self)

    def __len__(self) -> int:
        return len(self._held)

    def wake(self) -> None:
        """Have a look."""
        self._woken.set()

    async def receive(self, most: int) -> list[Delivery]:
        try:
            while not self._closed:
                self._woken.clear()
                room = min(most, self._prefetch - len(self._held)) if not self._lost else 0
                taken = self._line.take(self, room) if room > 0 else []
                if taken:
                    return [self._hand_out(record) for record in taken]
                self._line.wait(self)
                await self._woken.wait()
            return []
        finally:
            if not self.life.dead:
                self._line.wait_no_more(self)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        if await self._before_ack(len(deliveries)):
            self._settle(deliveries)
        else:
            self._line.put(self._settle(deliveries))
        self.wake()

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._line.put(self._settle(deliveries))
        self.wake()

    async def reject(self, deliveries: Sequence[Delivery]) -> None:
        self._broker.bury([delivery for delivery in deliveries if delivery in self._held])
        self._settle(deliveries)
        self.wake()

    async def close(self) -> None:
        if not self._closed:
            self.leave()

    def leave(self) -> None:
        """It is over: what it held comes again."""
        self._closed = True
        self._broker.left(self)
        self.lose()
        self.wake()

    def lose(self) -> None:
        """What it held comes again, to whoever is there; its acks of it are of no use any more."""
        self._lost = True
        self._line.leave(self)
        held, self._held = list(self._held.values()), {}
        self._line.put(held)

    def find_again(self) -> None:
        """It takes messages again, behind those that came meanwhile."""
        self._lost = False
        self._line.join(self)
        self.wake()

    def _hand_out(self, record: Record) -> Delivery:
        if record.message is None:
            raise TypeError("the simulated broker keeps every message in memory")
        delivery = Delivery(
            record.message, record.queue, record.exchange, record.routing_key, record.handed, record
        )
        record.handed += 1
        self._held[delivery] = record
        return delivery

    def _settle(self, deliveries: Sequence[Delivery]) -> list[Record]:
        """What this subscription holds of these; the others are not its to settle any more."""
        found = [self._held.pop(delivery, None) for delivery in deliveries]
        return [record for record in found if record is not None]
