"""Keeps one queue consumed: supervised, bounded, and drained at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bus.port import Bus, Delivery, Subscription
from contracts.errors import BusError
from reactors.acks import Acks

__all__ = ["Consumer", "pause_before"]

AGAIN = 1.0  # seconds until a consumer that failed is started again, or a message is first given back
MOST_GIVEN_BACK = 5  # times that one message is given back here; it is given up when it raises again


def pause_before(times: int) -> float:
    """Seconds until what has raised ``times`` times is given back.

    Longer each time: a bug that hits every message is better met by who is on call than by quarantine.
    """
    return float(AGAIN * 2 ** (times - 1))


class Consumer:
    """Receives from one queue and has at most ``concurrency`` messages processed at once.

    ``process`` brings a message to its end; what it raises is a bug: logged, and the message given
    back, at last to the queue's dead queue: no broker counts what a consumer keeps in its hands. Nothing is
    acked before it returned. Whatever goes wrong, the consumer goes on until stopped.
    """

    def __init__(
        self,
        bus: Bus,
        queue: str,
        process: Callable[[Delivery], Awaitable[None]],
        *,
        concurrency: int,
        prefetch: int,
    ) -> None:
        self._bus = bus
        self._queue = queue
        self._task_name = f"antiphon-{queue}"
        self._process = process
        self._prefetch = prefetch
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        # By message id: how often it raised. Those in hand are no more than the prefetch; with room for
        # others, which have gone to another consumer meanwhile.
        self._raised: dict[str, int] = {}
        self._most_counted = 2 * prefetch
        self._loop: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None
        self._acks: Acks | None = None
        self._stopping = False
        self._log = structlog.get_logger("antiphon.reactors").bind(queue=queue)

    def start(self) -> None:
        """Begin to consume, in the background."""
        self._loop = asyncio.create_task(self._supervise(), name=f"antiphon-consumer-{self._queue}")

    async def stop(self, drain: float) -> None:
        """Receive no more, give what is under way ``drain`` seconds to end, give back the rest."""
        self._stopping = True
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait({self._loop})
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain)
        left = {task for task in self._tasks if not task.done()}
        for task in left:
            task.cancel()
        if left:
            self._log.warning("not finished in time; given back", messages=len(left), seconds=drain)
            await asyncio.wait(left)
        if self._acks is not None:
            await self._acks.flush()
        if self._subscription is not None:
            try:
                await self._subscription.close()
            except BusError as error:
                self._log.info("subscription not closed; the broker does that itself", error=str(error))

    async def _supervise(self) -> None:
        while not self._stopping:
            try:
                await self._consume()
            except BusError as error:
                self._log.warning("consumer waits for the bus", error=str(error))
            except Exception:
                self._log.exception("consumer failed; started again")
            await asyncio.sleep(AGAIN)

    async def _consume(self) -> None:
        """Receive until the subscription ends."""
        subscription = await self._bus.subscribe(self._queue, prefetch=self._prefetch)
        acks = Acks(subscription)
        self._subscription, self._acks = subscription, acks
        try:
            while deliveries := await subscription.receive(self._prefetch):
                for delivery in deliveries:
                    self._begin(delivery, subscription, acks)
        except Exception:
            await subscription.close()
            raise

    def _begin(self, delivery: Delivery, subscription: Subscription, acks: Acks) -> None:
        task = asyncio.create_task(self._one(delivery, subscription, acks), name=self._task_name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, delivery: Delivery, subscription: Subscription, acks: Acks) -> None:
        async with self._slots:
            if self._stopping:
                return  # given back when the subscription is closed
            try:
                await self._process(delivery)
            except Exception:
                times = self._count(delivery.message.id)
                gives_up = times > MOST_GIVEN_BACK
                end = "given up, to the dead queue" if gives_up else "given back"
                self._log.exception(f"message not brought to an end; {end}", message_id=delivery.message.id)
            else:
                if self._raised:
                    self._raised.pop(delivery.message.id, None)
                acks.add(delivery)
                return
        # Without a slot: what waits here keeps no other message waiting.
        if gives_up:
            await self._reject(delivery, subscription)
        else:
            await asyncio.sleep(pause_before(times))
            await self._release(delivery, subscription)

    def _count(self, id: str) -> int:
        """How often this message has raised now. Who raised longest ago is forgotten first."""
        times = self._raised.pop(id, 0) + 1
        self._raised[id] = times
        if len(self._raised) > self._most_counted:
            del self._raised[next(iter(self._raised))]
        return times

    async def _reject(self, delivery: Delivery, subscription: Subscription) -> None:
        # Where the dead queue can't be had it comes back at once, and then waits as it did at first.
        self._raised.pop(delivery.message.id, None)
        try:
            await subscription.reject([delivery])
        except BusError as error:
            self._log.info("not given up; the broker delivers it again", error=str(error))

    async def _release(self, delivery: Delivery, subscription: Subscription) -> None:
        try:
            await subscription.release([delivery])
        except BusError as error:
            self._log.info("not given back; the broker does that itself", error=str(error))
