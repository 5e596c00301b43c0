"""What comes after the rides: the reactors catch up, the outage ends, the dead letters are redriven."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from examples.ride.demo.books import FILES, Books, count_reactions, read_books
from examples.ride.demo.check import Inconsistency, RunRecord, audit, expected_reactions
from examples.ride.demo.client import Gateway
from examples.ride.demo.tour import Outcome
from examples.ride.ledger import Ledger
from examples.ride.reactors import PORTAL_SWITCH

__all__ = ["Settlement"]

PATIENCE = 90.0  # seconds without any progress after which what is missing stays missing
AT_ONCE = 16  # requests


class Settlement:
    """Waits for the reactors, lifts the portal's outage, redrives, and audits."""

    def __init__(
        self,
        gateway: Gateway,
        ledger: Ledger,
        mailbox: Path,
        outcome: Outcome,
        *,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._ledger = ledger
        self._mailbox = mailbox
        self._outcome = outcome
        self._tell = tell
        self._clock = clock
        self._places = asyncio.Semaphore(AT_ONCE)
        self.redriven: set[str] = set()

    async def settle(self) -> tuple[list[RunRecord], Books, list[Inconsistency]]:
        """The journal, the books and the audit's findings, once everybody has had the time to finish."""
        runs = await self._read_journal()
        wanted = expected_reactions(runs, len(FILES))
        await self._wait_for(wanted, dead_are_done=True)
        await self._ledger.set_switch(PORTAL_SWITCH, "open")
        letters = await self._gateway.dead_letters()
        if letters:
            self._tell(f"the city's portal is back: {len(letters)} dead letters are redriven")
        await self._wait_for(wanted, dead_are_done=False)
        runs = await self._read_journal()
        books = read_books(self._ledger.path, self._mailbox)
        accepted, rejected = self._outcome.accepted, self._outcome.rejected
        return runs, books, audit(runs, books, accepted=accepted.keys(), rejected=rejected)

    async def _wait_for(self, wanted: int, *, dead_are_done: bool) -> None:
        """Until nothing is missing, or nothing has moved for PATIENCE seconds."""
        least, since = -1, self._clock()
        while True:
            dead = await self._gateway.dead_letters()
            if dead and not dead_are_done:
                await asyncio.gather(*(self._redrive(str(letter["id"])) for letter in dead))
            missing = wanted - count_reactions(self._ledger.path, self._mailbox)
            if missing <= (len(dead) if dead_are_done else 0):
                return
            if least < 0 or missing < least:
                least, since = missing, self._clock()
            elif self._clock() - since > PATIENCE:
                self._tell(f"{missing} reactions are missing, and none has come for {PATIENCE:.0f} s")
                return
            await asyncio.sleep(0.5)

    async def _redrive(self, letter_id: str) -> None:
        async with self._places:
            await self._gateway.redrive(letter_id, "the city's portal is back")
            self.redriven.add(letter_id)

    async def _read_journal(self) -> list[RunRecord]:
        """Every run of the flow, and the result of each that has completed."""
        runs = [run async for run in self._gateway.runs("ride")]
        return list(await asyncio.gather(*(self._record(run) for run in runs)))

    async def _record(self, run: dict[str, object]) -> RunRecord:
        status, result = str(run["status"]), None
        if status == "completed":
            async with self._places:
                result = (await self._gateway.run(str(run["id"])))["result"]
        return RunRecord(str(run["key"]), status, result)
