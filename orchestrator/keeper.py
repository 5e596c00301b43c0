"""Keeps this process's leases, off the event loop's back.

Renewal runs in a thread with a loop and a database connection of its own, so that a step that blocks
the event loop doesn't cost the leases of every other run. (On SQLite the store is this process's
alone, and a second writer would only stand in the first one's way: there it runs on the loop.)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import structlog

from contracts.crash import reached
from contracts.errors import ConfigurationError, StoreError
from orchestrator.clock import StoreClock
from orchestrator.leases import Round, keep_leases, leave, release
from store.database import Database

__all__ = ["LeaseKeeper"]

log = structlog.get_logger(__name__)

_BEHIND = 0.02  # seconds after the end of a lease


class LeaseKeeper:
    """Runs a round each ``renew`` seconds and hands it to ``on_round`` on the event loop.

    ``valid()`` turns false before the lease ends in the store, by the monotonic clock, whatever else
    has stopped: the owner then starts nothing and commits nothing.
    """

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        name: str,
        lease: float,
        renew: float,
        partitions: int,
        clock: StoreClock,
        on_round: Callable[[Round], None],
        open_own: Callable[[], Awaitable[Database]] | None,
    ) -> None:
        self._database = database
        self._owner = owner
        self._name = name
        self._lease = lease
        self._renew = renew
        self._partitions = partitions
        self._clock = clock
        self._on_round = on_round
        self._open_own = open_own
        self._valid_until = 0.0
        self._leaving = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None

    def valid(self) -> bool:
        """Whether the leases certainly still hold."""
        return self._clock.steady() < self._valid_until

    def start(self) -> None:
        """Begin to keep leases."""
        loop = asyncio.get_running_loop()
        if self._open_own is None:
            self._task = asyncio.create_task(self._keep(self._database, self._take_round))
            return
        open_own = self._open_own

        def deliver(round: Round) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._take_round, round)

        async def keep_apart() -> None:
            database = await open_own()
            try:
                await self._keep(database, deliver)
            finally:
                await database.close()

        self._thread = threading.Thread(
            target=self._run_apart, args=(keep_apart,), name="antiphon-leases", daemon=True
        )
        self._thread.start()

    def leave(self) -> None:
        """Take no partition any more, and let the others count without this process."""
        self._leaving = True

    async def hand_over(self, partitions: list[int]) -> None:
        """Give partitions up at once."""
        reached("orchestrator.keeper.hand_over.before")
        await self._database.write(lambda connection: release(connection, self._owner, partitions))
        reached("orchestrator.keeper.hand_over.after")

    async def stop(self) -> None:
        """End, and forget this process in the store."""
        self._stopping.set()
        self._valid_until = 0.0
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 10.0)
        reached("orchestrator.keeper.leave.before")
        await self._database.write(lambda connection: leave(connection, self._owner))
        reached("orchestrator.keeper.leave.after")

    def _run_apart(self, keep: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await keep()

        while not self._stopping.is_set():
            try:
                asyncio.run(main())
            except Exception:  # the thread must outlive whatever goes wrong in it; leases lapse meanwhile
                log.exception("lease_keeper_failed", owner=self._owner)
                self._stopping.wait(self._renew)

    def _take_round(self, round: Round) -> None:
        try:
            self._on_round(round)
        except Exception:  # a round that could not be taken is followed by the next one
            log.exception("lease_round_failed", owner=self._owner)

    async def _keep(self, database: Database, deliver: Callable[[Round], None]) -> None:
        while not self._stopping.is_set():
            asked, pause = self._clock.steady(), self._renew
            try:
                async with asyncio.timeout(self._lease):
                    reached("orchestrator.keeper.renew.before")
                    round = await database.write(
                        lambda connection: keep_leases(
                            connection,
                            owner=self._owner,
                            name=self._name,
                            now=database.now(),
                            lease=self._lease,
                            partitions=self._partitions,
                            leaving=self._leaving,
                        )
                    )
                    reached("orchestrator.keeper.renew.after")
            except ConfigurationError as error:
                # The store has grown past this process, which may own nothing of it any more.
                log.error("leases_not_kept", owner=self._owner, error=str(error))
                self._valid_until = 0.0
                deliver(Round(0.0))
            except (StoreError, TimeoutError) as error:
                log.warning("leases_not_renewed", owner=self._owner, error=str(error) or type(error).__name__)
            else:
                self._clock.set(round.now, asked=asked, answered=self._clock.steady())
                # Counted from before the question, and short of the end by a tenth: this process stops
                # first, then another may begin.
                self._valid_until = asked + self._lease * 0.9
                deliver(round)
                if round.next_end is not None:
                    # A lease that nobody renews is taken as it ends, not up to a whole round later.
                    pause = min(pause, self._clock.steady() - asked + round.next_end + _BEHIND)
            await asyncio.sleep(max(0.0, pause - (self._clock.steady() - asked)))
