"""The orchestrator: owns its share of the partitions, for as long as its leases hold."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from bus.port import Bus, Queue
from contracts.crash import reached
from contracts.errors import AntiphonError
from contracts.upcasting import Upcasters
from orchestrator import wire
from orchestrator.announcer import Announcer
from orchestrator.beat import Beat
from orchestrator.catalog import Catalog
from orchestrator.clock import StoreClock
from orchestrator.correlator import Correlator, event_queues
from orchestrator.executor import Executor
from orchestrator.flow import Flow
from orchestrator.journal import Journal
from orchestrator.keeper import LeaseKeeper
from orchestrator.leases import Round, make_partitions
from orchestrator.partition import Partition
from orchestrator.proofs import Proofs
from orchestrator.shop import Shop
from orchestrator.turn import Rules
from store.database import Database
from store.live.port import Live

__all__ = ["Orchestrator", "queues_of"]

log = structlog.get_logger(__name__)


def queues_of(catalog: Catalog, partitions: int) -> list[Queue]:
    """Every queue of the calling half."""
    return [*(wire.partition_queue(number) for number in range(partitions)), *event_queues(catalog)]


class Orchestrator:
    """One process of the calling half. Any number of them share the partitions.

    ``check(type, data)`` raises ContractError for what may not be sent, ``read`` for what can't be read.
    ``open_own`` opens a second database for the lease keeper's thread; None keeps leases on the event
    loop (SQLite). Times are in seconds.
    """

    def __init__(
        self,
        flows: Iterable[Flow],
        *,
        bus: Bus,
        database: Database,
        live: Live,
        check: Callable[[str, Any], None],
        read: Callable[[str, Any], None],
        upcasters: Upcasters | None = None,
        incarnation: str,
        name: str = "orchestrator",
        partitions: int,
        lease: float = 5.0,
        renew: float = 1.0,
        prefetch: int = 200,
        steps_at_once: int = 1000,
        default_workspace: str | None = None,
        open_own: Callable[[], Awaitable[Database]] | None = None,
        rng: Callable[[], float] = random.random,
        clock: StoreClock | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.incarnation = incarnation
        self.catalog = Catalog(flows, upcasters)
        self._bus = bus
        self._database = database
        self._partition_count = partitions
        self._clock = clock or StoreClock()
        self._announcer = Announcer(live)
        self._executor = executor or Executor(most=steps_at_once)
        self._keeper = LeaseKeeper(
            database,
            owner=incarnation,
            name=name,
            lease=lease,
            renew=renew,
            partitions=partitions,
            clock=self._clock,
            on_round=self._take_round,
            open_own=open_own,
        )
        self._shop = Shop(
            bus=bus,
            journal=Journal(database),
            proofs=Proofs(database),
            catalog=self.catalog,
            rules=Rules(check=check, read=read, flow=self.catalog.find, rng=rng),
            executor=self._executor,
            announcer=self._announcer,
            clock=self._clock,
            beat=Beat(),
            valid=self._keeper.valid,
            partitions=partitions,
            prefetch=prefetch,
        )
        self._correlator = Correlator(
            self.catalog,
            bus=bus,
            database=database,
            check=read,
            partitions=partitions,
            clock=self._clock,
            default_workspace=default_workspace,
        )
        self._partitions: dict[int, Partition] = {}
        self._changing: dict[int, asyncio.Task[None]] = {}
        self._given: dict[int, int] = {}  # epochs that were handed over; a round of before may still say them
        self._stopping = False

    @property
    def owned(self) -> dict[int, int]:
        """The partitions at work here, and their epochs."""
        return {number: partition.epoch for number, partition in self._partitions.items()}

    async def start(self) -> None:
        """Join the others. Raises ConfigurationError when the store has another number of partitions."""
        reached("orchestrator.runtime.make.before")
        await self._database.write(lambda connection: make_partitions(connection, self._partition_count))
        reached("orchestrator.runtime.make.after")
        await self._bus.declare(*queues_of(self.catalog, self._partition_count))
        self._keeper.start()
        await self._correlator.start()

    async def stop(self, *, grace: float = 10.0) -> None:
        """Hand the partitions over: what is at work may end, what is committed is published."""
        self._stopping = True
        self._keeper.leave()
        await self._correlator.stop()
        await asyncio.gather(*self._changing.values(), return_exceptions=True)
        numbers = list(self._partitions)
        await asyncio.gather(*(self._partitions[number].stop(grace=grace) for number in numbers))
        self._partitions.clear()
        await self._executor.stop(0.0)
        try:
            await self._keeper.hand_over(numbers)
            await self._keeper.stop()
        except AntiphonError as error:
            # The leases then end by themselves; that only takes longer.
            log.warning("not_handed_over", partitions=numbers, error=str(error))
        await self._announcer.stop()

    # --- rounds of the lease keeper -----------------------------------------------------------

    def _take_round(self, round: Round) -> None:
        if self._stopping:
            return
        for number in list(self._partitions):
            partition = self._partitions[number]
            if round.owned.get(number) != partition.epoch or partition.fenced.is_set():
                self._change(number, self._drop(number))
            elif number in round.surplus:
                self._change(number, self._hand_over(number))
            elif partition.failure is not None:
                log.error("partition_failed", partition=number, exc_info=partition.failure)
                self._change(number, self._hand_over(number))
        for number, epoch in round.owned.items():
            if number in self._partitions or epoch <= self._given.get(number, 0):
                continue
            if number in round.surplus:
                # Taken, and never at work here: the answer to the taking was lost, or the take-over failed.
                # Renewed and left alone it would be nobody's.
                self._change(number, self._keeper.hand_over([number]))
            else:
                self._change(number, self._take_over(number, epoch))

    def _change(self, number: int, change: Any) -> None:
        """One change of a partition at a time; the next round asks again for what is still to do."""
        if number in self._changing:
            change.close()
            return
        task = asyncio.create_task(change)
        self._changing[number] = task
        task.add_done_callback(lambda done: self._changed(number, done))

    def _changed(self, number: int, task: asyncio.Task[None]) -> None:
        self._changing.pop(number, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("partition_change_failed", partition=number, error=str(error), exc_info=error)

    async def _take_over(self, number: int, epoch: int) -> None:
        partition = Partition(number, epoch, self._shop)
        try:
            await partition.start()
        except BaseException:
            await partition.stop()
            raise
        self._partitions[number] = partition
        log.info("partition_taken", partition=number, epoch=epoch, owner=self.incarnation)

    async def _drop(self, number: int) -> None:
        partition = self._partitions.pop(number)
        await partition.stop()
        log.warning("partition_lost", partition=number, epoch=partition.epoch, owner=self.incarnation)

    async def _hand_over(self, number: int) -> None:
        partition = self._partitions.pop(number)
        await partition.stop(grace=2.0)
        await self._keeper.hand_over([number])
        self._given[number] = partition.epoch
        log.info("partition_handed_over", partition=number, epoch=partition.epoch, owner=self.incarnation)
