"""One partition at work: batches of happenings, one commit each, by its owner alone."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from operator import attrgetter

import structlog

from bus.port import Outgoing, Subscription
from contracts.crash import reached
from contracts.errors import BusError, Fenced, MalformedMessage, StoreError
from orchestrator import wire
from orchestrator.batch import Batch
from orchestrator.beat import Share
from orchestrator.happenings import (
    OwnerChanged,
    StartRequested,
    StepFailed,
    StepFinished,
    StepReturned,
    TimerFired,
    mark_of,
)
from orchestrator.inbox import Arrival, Inbox
from orchestrator.instead import instead_of
from orchestrator.journal import Commit, Knowledge, Question
from orchestrator.onward import send_on
from orchestrator.reconciler import Reconciler
from orchestrator.refusal import refusal
from orchestrator.relay import Relay
from orchestrator.room import forget
from orchestrator.run import Run
from orchestrator.shop import Shop
from orchestrator.strays import Happened, sort_out
from orchestrator.timers import Timers

__all__ = ["Partition"]

log = structlog.get_logger(__name__)

_MOST_IN_MEMORY = 2_000  # runs that are not at work here; those at work always are
_RETRY_PAUSE = 0.25
_LATER_PAUSE = 5.0
_GIVING_BACK = 2.0  # seconds, twice, for a store that does not answer; what is left then counts as lost


class Partition:
    """Owns one partition in one epoch, from ``start`` to ``stop``."""

    def __init__(self, number: int, epoch: int, shop: Shop) -> None:
        self.number = number
        self.epoch = epoch
        self._shop = shop
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._inbox = Inbox()
        self._relay = Relay(shop.bus, shop.journal, number, self._inbox.published)
        self._timers = Timers(shop.journal, number, clock=shop.clock, fire=self._fire)
        self._reconciler = Reconciler(
            shop.proofs,
            number,
            epoch,
            clock=shop.clock,
            works=shop.executor.works_on,
            knows=lambda flow, version: shop.catalog.find(flow, version) is not None,
            happened=self._inbox.happened,
        )
        # Positions go on growing from one owner to the next, and ids of commits never come again.
        self._positions = itertools.count(epoch << 32)
        self._commits = (f"{epoch}.{shop.clock():.6f}.{count}" for count in itertools.count())
        self._subscription: Subscription | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self.fenced = asyncio.Event()

    @property
    def outbox_depth(self) -> int:
        """Messages committed here and not confirmed by the broker yet."""
        return self._relay.depth

    @property
    def failure(self) -> BaseException | None:
        """What ended a task here that nobody had told to end: a bug."""
        return next((task.exception() for task in self._tasks if task.done()), None)

    async def start(self) -> None:
        """Take over: what was at work goes on, what was not published is, then new messages are read."""
        shop = self._shop
        left = await shop.journal.outbox(self.number)
        if left:
            self._positions = itertools.count(max(self.epoch << 32, left[-1].position + 1))
        self._relay.resume(left)
        self._relay.start()
        for run in await shop.journal.busy(self.number):
            self._runs[run.id] = run
            self._inbox.happened(run.id, OwnerChanged())
        self._timers.start()
        self._subscription = await shop.bus.subscribe(
            wire.partition_queue(self.number).name, prefetch=shop.prefetch
        )
        self._receiving = asyncio.create_task(self._receive(self._subscription))
        self._tasks = [self._receiving, asyncio.create_task(self._work())]
        self._reconciler.start()

    async def stop(self, *, grace: float = 0.0) -> None:
        """Stop. With ``grace`` seconds, steps that are at work here may end, and the outbox is emptied."""
        self._draining = True
        if self._receiving is not None:
            self._receiving.cancel()  # what came and is not in the inbox yet is the next owner's
        if self._subscription is not None:
            await self._subscription.close()
        await self._timers.stop()
        await self._reconciler.stop()
        if grace > 0:
            # What is at work may end; what would come next is the next owner's to start.
            await self._inbox.idle(lambda: not self._shop.executor.works_for(self._owns), grace)
            await self._give_back()
            await self._relay.stop(grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._relay.stop(0.0)
        self._shop.executor.abandon_all(self._owns)  # a run that this one lost from memory is at work too

    def _owns(self, run_id: str) -> bool:
        return wire.partition_of(run_id, self._shop.partitions) == self.number

    async def _give_back(self) -> None:
        """Stop what is still at work, and say so in its run, so that it is not taken for a crash.

        So is what was ordered since this one began to leave, and never started.
        """
        for run_id, node, _ in self._at_work():
            self._shop.executor.abandon(run_id, node)
        await self._inbox.idle(lambda: True, _GIVING_BACK)  # what was reported just before counts
        for run_id, node, dispatch in self._at_work():
            self._inbox.happened(run_id, StepReturned(node, dispatch))
        await self._inbox.idle(lambda: True, _GIVING_BACK)

    def _at_work(self) -> list[tuple[str, str, int]]:
        """(run, node, dispatch) of what is in hand here. What stands in line is what others have lost."""
        in_line = self._shop.executor.stands_in_line
        found = [(run, node, run.in_hand(node)) for run in self._runs.values() for node in run.active]
        return [(run.id, node, n) for run, node, n in found if n is not None and not in_line(run.id, node)]

    # --- what comes in ------------------------------------------------------------------------

    def report(self, run_id: str, outcome: StepFinished | StepFailed) -> None:
        """A step that ran here has ended."""
        self._inbox.happened(run_id, outcome)

    def _fire(self, run_id: str, name: str) -> None:
        self._inbox.happened(run_id, TimerFired(name))

    async def _receive(self, subscription: Subscription) -> None:
        most = self._shop.prefetch
        while True:
            # What can't be begun stays with the broker, which keeps it on disk.
            await self._shop.executor.room()
            deliveries = await subscription.receive(most)
            if not deliveries:
                return
            await self._inbox.deliver(deliveries, self.number, most=most, room=self._shop.executor.room)

    async def _work(self) -> None:
        while True:
            await self._relay.room()  # neither memory nor the outbox grows while the broker takes nothing
            await self._inbox.ready()
            async with self._shop.beat.join() as share:
                arrivals, published = self._inbox.take(self._shop.prefetch)
                try:
                    await self._take(arrivals, published, share)
                except Fenced as fenced:
                    log.warning("fenced", partition=self.number, epoch=self.epoch, reason=str(fenced))
                    self.fenced.set()
                    return
                except (StoreError, BusError) as error:
                    log.warning("batch_postponed", partition=self.number, error=str(error))
                    share.leave()
                    await asyncio.sleep(_RETRY_PAUSE)
                    self._inbox.again(arrivals, published)

    async def _take(self, arrivals: list[Arrival], published: list[int], share: Share) -> None:
        """Take a batch; what is put back after StoreError or BusError is what is left of both lists."""
        try:
            await self._turn(arrivals, published, share)
        except (StoreError, BusError):
            raise
        except Exception:
            # One batch must not end the partition. Message by message, the bad one shows.
            log.exception("batch_failed", partition=self.number, size=len(arrivals))
            self._inbox.published(published)
            published.clear()  # put back, and not a second time when the store goes away below
            share.leave()
            while arrivals:
                await self._alone(arrivals[0], share)
                del arrivals[0]

    async def _alone(self, arrival: Arrival, share: Share) -> None:
        """Take one arrival by itself; one that can't be taken ends where somebody sees it.

        Raises StoreError and BusError: then it is tried again, and those behind it.
        """
        try:
            await self._turn([arrival], [], share)
        except (StoreError, BusError):
            raise
        except Exception as error:
            log.exception("arrival_refused", partition=self.number, run=arrival.run_id)
            delivery = arrival.by_itself(self._shop.clock())
            if delivery is not None:
                commit = Commit(self.number, self.epoch, next(self._commits))
                unfit = MalformedMessage(f"it can't be taken: {type(error).__name__}: {error}")
                commit.refused.append(refusal(delivery, unfit, self._shop.clock(), workspace=""))
                await self._commit(commit, share)
                if arrival.last and arrival.delivery is not None and self._subscription is not None:
                    reached("orchestrator.partition.refused.before")
                    await self._subscription.ack([arrival.delivery])
                    reached("orchestrator.partition.refused.after")
            elif (happening := instead_of(arrival.happening, error)) is not None:
                self._inbox.happened(arrival.run_id, happening)
            # Else the run itself can't be read or written: the reconciler lists it for as long as that is so.

    async def _turn(self, arrivals: Sequence[Arrival], published: Sequence[int], share: Share) -> None:
        commit = Commit(self.number, self.epoch, next(self._commits))
        commit.published.extend(published)
        commit.refused += [one.refused(self._shop.clock()) for one in arrivals if one.happening is None]
        happenings, strays = sort_out(arrivals, self.number, self._shop.partitions, self._shop.clock())
        batch, taken = await self._prepare(commit, happenings)
        try:
            later = strays + self._decide(batch, happenings, taken)
            await self._commit(batch.finish(), share)
        except BaseException:
            # In memory these runs are ahead of the journal now.
            for run_id in batch.changes:
                self._runs.pop(run_id, None)
            raise
        share.leave()  # where nothing was to be committed
        await self._settle(batch, later)
        deliveries = [arrival.delivery for arrival in arrivals if arrival.delivery and arrival.last]
        if deliveries and self._subscription is not None:
            reached("orchestrator.partition.ack.before")
            await self._subscription.ack(deliveries)
            reached("orchestrator.partition.ack.after")

    async def _prepare(
        self, commit: Commit, happenings: Sequence[Happened]
    ) -> tuple[Batch, set[tuple[str, str]]]:
        """A batch with all that it needs, and the messages that were taken before."""
        shop = self._shop
        unknown = {run_id: None for _, run_id, _ in happenings if run_id not in self._runs}
        question = Question(
            runs=tuple(unknown),
            marks=tuple((run_id, mark) for _, run_id, h in happenings if (mark := mark_of(h))),
            starting=tuple(
                run_id for _, run_id, h in happenings if isinstance(h, StartRequested) and run_id in unknown
            ),
        )
        asked = question.runs or question.marks
        known = await shop.journal.ask(question) if asked else Knowledge()
        self._runs.update(known.runs)
        batch = Batch(
            partition=self.number,
            partitions=shop.partitions,
            commit=commit,
            runs=self._runs,
            catalog=shop.catalog,
            rules=shop.rules,
            now=shop.clock(),
            next_position=lambda: next(self._positions),
            early=known.early,
            purged=known.purged,
        )
        return batch, known.taken

    def _decide(
        self, batch: Batch, happenings: Sequence[Happened], taken: set[tuple[str, str]]
    ) -> list[Outgoing]:
        """Decide each; returns what must wait: for another version of the app, or for its run."""
        later: list[Outgoing] = []
        queue = wire.partition_queue(self.number).name
        for arrival, run_id, happening in happenings:
            mark = mark_of(happening)
            if mark is not None:
                if (run_id, mark) in taken:
                    continue
                taken.add((run_id, mark))
            objection = batch.objection(run_id, happening) if arrival.delivery is not None else None
            if objection is None and batch.take(run_id, happening):
                if mark is not None:
                    batch.mark(run_id, mark)
                continue
            delivery = arrival.by_itself(batch.now)
            if delivery is not None and objection is not None:
                batch.refuse(run_id, delivery, objection)
            elif delivery is not None:
                later.append(Outgoing(delivery.message, queue, delay=_LATER_PAUSE))
        return later

    async def _commit(self, commit: Commit, share: Share) -> None:
        """Commit, and again for as long as the store does not say; what was decided stays decided."""
        while not commit.empty:
            await self._wait_for_the_lease(share)
            await share.decided()
            try:
                reached("orchestrator.partition.commit.before")
                await self._shop.journal.commit(commit)
                reached("orchestrator.partition.commit.after")
                return
            except Fenced:
                raise
            except StoreError as error:
                log.warning("commit_unanswered", partition=self.number, commit=commit.id, error=str(error))
                share.leave()
                await asyncio.sleep(_RETRY_PAUSE)

    async def _settle(self, batch: Batch, later: Sequence[Outgoing]) -> None:
        """All of this is after the commit; a crash from here on repeats it, and repeats are harmless."""
        shop = self._shop
        changes = batch.changes.values()
        posts = [post for change in changes for post in change.posts]
        self._relay.put(sorted(posts, key=attrgetter("position")))
        for change in changes:
            for name, due_at in change.timers.items():
                if due_at is not None:
                    self._timers.add(change.run.id, name, due_at)
            shop.announcer.facts(change.run, change.facts)
        for start, outcome in batch.answers:
            shop.announcer.answer(start, outcome, self._runs.get(start.run_id))
        self._reconciler.repaired(batch.repairs)
        for run_id, node in batch.abandoned:
            shop.executor.abandon(run_id, node)
        if not self._draining:
            for run, flow, order in batch.dispatches:
                shop.executor.dispatch(run, flow, order, self.report)
            for run_id, place in batch.in_line:
                shop.executor.stand_in_line(run_id, place, self._inbox.happened)
        forget(self._runs, batch.changes, _MOST_IN_MEMORY)
        if later:
            await send_on(shop.bus, later, self.number)

    async def _wait_for_the_lease(self, share: Share) -> None:
        """Commit nothing while the lease may have ended; a newer owner fences this one for good."""
        while not self._shop.valid():
            share.leave()
            await asyncio.sleep(_RETRY_PAUSE)
