"""Writes what happened to messages: everybody who is there at one moment shares one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from bus.embedded.storage import Storage
from bus.embedded.tables import messages
from contracts.crash import reached
from contracts.errors import BusUnavailable

__all__ = ["Ledger"]

_log = logging.getLogger(__name__)

# As the driver takes them: building them anew for each transaction costs more than running them.
_COLUMNS = messages.c.keys()
_INSERT = (
    f"INSERT INTO {messages.name} ({', '.join(_COLUMNS)}) "  # noqa: S608 - names of ours
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
# A move is tried until it was answered: what a commit has kept whose answer was lost is there already.
_MOVE = f"{_INSERT} ON CONFLICT (seq) DO NOTHING"
_DELETE = f"DELETE FROM {messages.name} WHERE seq = ?"  # noqa: S608
_COUNT = f"UPDATE {messages.name} SET deliveries = ? WHERE seq = ?"  # noqa: S608


@dataclass(slots=True)
class _Page:
    """What one transaction will say. ``moves`` are rows whose original is among ``deletes``."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    moves: list[tuple[Any, ...]] = field(default_factory=list)
    deletes: list[int] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    landed: list[Callable[[], None]] = field(default_factory=list)
    moved: list[Callable[[], None]] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.moves or self.deletes or self.counts or self.waiters)

    def write(self, connection: Connection) -> None:
        if self.rows:
            connection.exec_driver_sql(_INSERT, self.rows)
        if self.moves:
            connection.exec_driver_sql(_MOVE, self.moves)
        if self.counts:
            connection.exec_driver_sql(_COUNT, [(handed, seq) for seq, handed in self.counts.items()])
        if self.deletes:
            connection.exec_driver_sql(_DELETE, [(seq,) for seq in self.deletes])

    def take_back(self, failed: _Page) -> None:
        """Try again what nobody waits for; publishers were told, and publish again themselves."""
        self.moves = failed.moves + self.moves
        self.moved = failed.moved + self.moved
        self.deletes = failed.deletes + self.deletes
        self.counts = {seq: n for seq, n in (failed.counts | self.counts).items() if seq not in self.deletes}


class Ledger:
    """Inserts are waited for. Moves, deletes and counts are not: they join the next transaction.

    ``linger`` is how long, in seconds, a transaction that nobody waits for waits for company; it bounds the
    extra redeliveries after a crash (as gathering acks does on RabbitMQ, decision 0022). A message that is
    deleted meanwhile needs no count. ``pause`` is how long to wait, in seconds, after a transaction failed.
    """

    def __init__(self, storage: Storage, *, linger: float = 0.05, pause: float = 0.1) -> None:
        self._storage = storage
        self._linger = linger
        self._pause = pause
        self._page = _Page()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def insert(self, rows: Sequence[tuple[Any, ...]], landed: Callable[[], None]) -> asyncio.Future[None]:
        """Insert rows; done once they are durable, just after ``landed`` was called.

        The future fails with BusUnavailable.
        """
        self._page.rows.extend(rows)
        self._page.landed.append(landed)
        return self.settled()

    def move(self, rows: Sequence[tuple[Any, ...]], gone: Sequence[int], moved: Callable[[], None]) -> None:
        """Insert rows and delete ``gone`` in one transaction, soon; ``moved`` is called after it."""
        self._page.moves.extend(rows)
        self._page.moved.append(moved)
        self.delete(gone)

    def delete(self, seqs: Sequence[int]) -> None:
        """Delete rows, soon."""
        for seq in seqs:
            self._page.counts.pop(seq, None)
        self._page.deletes.extend(seqs)
        self._wake()

    def count(self, seq: int, handed: int) -> None:
        """Write down, soon, how often a message was handed out."""
        self._page.counts[seq] = handed
        self._wake()

    def settled(self) -> asyncio.Future[None]:
        """Done once everything handed in so far is durable. The future fails with BusUnavailable."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._page.waiters.append(waiter)
        self._hurry.set()
        self._wake()
        return waiter

    async def close(self) -> None:
        """Write what is left, once. Raises BusUnavailable when that fails."""
        try:
            await self.settled()
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])

    def _wake(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="antiphon bus ledger")

    async def _run(self) -> None:
        try:
            while self._page:
                if not self._page.waiters:
                    await self._wait_for_company()
                await self._flush()
        finally:
            self._task = None

    async def _wait_for_company(self) -> None:
        try:
            async with asyncio.timeout(self._linger):
                await self._hurry.wait()
        except TimeoutError:
            return  # nobody came: these go alone

    async def _flush(self) -> None:
        self._hurry.clear()
        page, self._page = self._page, _Page()
        try:
            reached("bus.embedded.ledger.write.before")
            await self._storage.write(page.write)
            reached("bus.embedded.ledger.write.after")
        except Exception as error:
            _log.warning("the embedded bus could not write to its database: %s", error)
            failure = BusUnavailable(f"the embedded bus could not write to its database: {error}")
            failure.__cause__ = error
            self._page.take_back(page)
            _resolve(page.waiters, failure)
            await asyncio.sleep(self._pause)
        else:
            for call in (*page.landed, *page.moved):
                call()
            _resolve(page.waiters, None)


def _resolve(waiters: Sequence[asyncio.Future[None]], failure: BusUnavailable | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue  # its publisher gave up waiting
        if failure is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(failure)
