"""The bus in one SQLite file, or in memory: the same promises as a broker, for one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Connection, insert, select

from bus.dead import dead_copy, dead_name
from bus.embedded import tables
from bus.embedded.delays import Delays
from bus.embedded.ledger import Ledger
from bus.embedded.line import Line
from bus.embedded.lock import FileLock
from bus.embedded.record import Cache, Record, message_of_row, row_of_record
from bus.embedded.routes import Routes
from bus.embedded.storage import Storage
from bus.embedded.subscription import EmbeddedSubscription
from bus.port import DIRECT, Delivery, Message, Outgoing, Queue, QueueStats
from bus.routing import check_outgoing, check_queue
from contracts.crash import reached
from contracts.errors import BusError, BusUnavailable, ConfigurationError, PublishFailed, Unroutable

__all__ = ["EmbeddedBus"]

_Rows: TypeAlias = Sequence[Any]

_CHUNK = 500  # parameters per SELECT; SQLite allows 999 in its oldest builds


class EmbeddedBus:
    """A ``bus.port.Bus`` on a Storage: one row per message and queue, gone when acked.

    ``lock``: the lock file; give it whenever the storage is a file. ``publish_timeout`` in seconds.
    ``cache``: the most bytes of waiting messages kept in memory; what is over is read when it is its turn.
    The storage stays the caller's, to be closed after the bus.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        lock: Path | None = None,
        publish_timeout: float = 10.0,
        cache: int = 64 * 2**20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ledger = Ledger(storage)
        self._storage = storage
        self._lock = FileLock(lock) if lock is not None else None
        self._timeout = publish_timeout
        self._clock = clock
        self._cache = Cache(cache)
        self._lines: dict[str, Line] = {}
        self._routes = Routes()
        self._delays = Delays(clock, self._due)
        self._next_seq = 1
        self._connected = False
        self._subscriptions: set[EmbeddedSubscription] = set()

    async def start(self) -> None:
        """Make the tables and load what is waiting. Raises ConfigurationError when another process has it."""
        if self._connected:
            return
        if self._lock is not None:
            self._lock.take()
        try:
            reached("bus.embedded.bus.tables.before")
            await self._storage.write(tables.metadata.create_all)
            reached("bus.embedded.bus.tables.after")
            self._remember(*await self._storage.read(_load))
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise
        self._connected = True

    def _remember(self, queues: _Rows, bindings: _Rows, waiting: _Rows) -> None:
        self._lines = {name: Line(name, single_active=single) for name, single in queues}
        self._routes = Routes()
        for exchange, pattern, queue in bindings:
            self._routes.add(exchange, pattern, queue)
        now = self._clock()
        for seq, queue, exchange, routing_key, available_at, handed in waiting:
            self._place(Record(seq, queue, exchange, routing_key, available_at, handed, inherited=True), now)
        self._next_seq = waiting[-1][0] + 1 if waiting else 1

    async def close(self) -> None:
        """See ``bus.port.Bus``. Raises BusUnavailable when the last acks could not be written."""
        if not self._connected:
            return
        self._connected = False
        for subscription in list(self._subscriptions):
            await subscription.close()
        self._delays.stop()
        try:
            await self.ledger.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    async def declare(self, *queues: Queue) -> None:
        """See ``bus.port.Bus``."""
        self._check_connected()
        for queue in queues:
            check_queue(queue)
            known = self._lines.get(queue.name)
            if known is not None and known.single_active != queue.single_active:
                raise ConfigurationError(
                    f"queue {queue.name!r} exists with single_active={known.single_active}; "
                    "that can't change: use another name, or drain the queue and delete it"
                )
        lines: dict[str, bool] = {}
        for queue in queues:
            lines[queue.name] = queue.single_active
            lines.setdefault(dead_name(queue.name), False)
        fresh = [{"name": n, "single_active": s} for n, s in lines.items() if n not in self._lines]
        bound = [
            {"queue": queue.name, "exchange": binding.exchange, "pattern": binding.pattern}
            for queue in queues
            for binding in queue.bindings
            if not self._routes.has(binding.exchange, binding.pattern, queue.name)
        ]

        if fresh or bound:
            reached("bus.embedded.bus.declare.before")
            await self._storage.write(partial(_save, fresh, bound))
            reached("bus.embedded.bus.declare.after")
        for name, single_active in lines.items():
            self._add_line(name, single_active=single_active)
        for row in bound:
            self._routes.add(row["exchange"], row["pattern"], row["queue"])

    def _add_line(self, name: str, *, single_active: bool) -> None:
        if name not in self._lines:
            self._lines[name] = Line(name, single_active=single_active)

    async def publish(self, *outgoing: Outgoing, timeout: float | None = None) -> None:
        """See ``bus.port.Bus``. Raises ConfigurationError for what no broker could carry."""
        for out in outgoing:
            check_outgoing(out)
        if not outgoing:
            return
        if not self._connected:
            raise PublishFailed(_same_for_all(outgoing, "the embedded bus is not started, or closed"))
        errors: dict[int, BusError] = {}
        filed: list[tuple[Record, Message]] = []
        for index, out in enumerate(outgoing):
            targets = self._targets(out)
            if not targets and out.mandatory:
                errors[index] = Unroutable(
                    f"message {out.message.id!r} reached no queue: nothing is bound to "
                    f"exchange {out.exchange!r} with routing key {out.routing_key!r}"
                )
            filed += [(self._record(out, queue), out.message) for queue in targets]
        if filed:
            await self._commit(outgoing, filed, errors, self._timeout if timeout is None else timeout)
        if errors:
            raise PublishFailed(errors)

    async def _commit(
        self,
        outgoing: Sequence[Outgoing],
        filed: list[tuple[Record, Message]],
        errors: dict[int, BusError],
        timeout: float,
    ) -> None:
        """Errors of single messages are known before; a transaction fails for all the others."""
        rows = [row_of_record(record, message) for record, message in filed]
        written = self.ledger.insert(rows, partial(self._land, filed))
        try:
            async with asyncio.timeout(timeout):
                await written
        except (TimeoutError, BusUnavailable) as error:
            reason = f"no commit within {timeout} s" if isinstance(error, TimeoutError) else str(error)
            raise PublishFailed(errors | _same_for_all(outgoing, reason, besides=errors)) from error

    def _targets(self, out: Outgoing) -> Sequence[str]:
        if out.exchange == DIRECT:
            return (out.routing_key,) if out.routing_key in self._lines else ()
        return self._routes.find(out.exchange, out.routing_key)

    def _record(self, out: Outgoing, queue: str) -> Record:
        seq = self._next_seq
        self._next_seq += 1
        return Record(seq, queue, out.exchange, out.routing_key, self._clock() + out.delay)

    def _land(self, filed: Sequence[tuple[Record, Message]]) -> None:
        now = self._clock()
        for record, message in filed:
            self._cache.keep(record, message)
            self._place(record, now)

    def _place(self, record: Record, now: float) -> None:
        if record.available_at > now:
            self._delays.add((record,))
        else:
            self._due(record)

    def _due(self, record: Record) -> None:
        self._lines[record.queue].put((record,))

    async def subscribe(self, queue: str, *, prefetch: int) -> EmbeddedSubscription:
        """See ``bus.port.Bus``. Raises ConfigurationError when there is no such queue."""
        if prefetch < 1:
            raise ConfigurationError(f"prefetch must be at least 1, not {prefetch}")
        subscription = EmbeddedSubscription(self, self._line(queue), prefetch)
        self._line(queue).join(subscription)
        self._subscriptions.add(subscription)
        return subscription

    async def stats(self, queue: str) -> QueueStats:
        """See ``bus.port.Bus``. Raises ConfigurationError when there is no such queue."""
        line = self._line(queue)
        oldest = None if line.oldest is None else max(0.0, self._clock() - line.oldest)
        return QueueStats(len(line), line.unsettled, len(line.subscriptions), oldest)

    async def purge(self, queue: str) -> int:
        """See ``bus.port.Bus``. Raises ConfigurationError when there is no such queue."""
        records = self._line(queue).empty()
        self.forget(records)
        await self.ledger.settled()
        return len(records)

    @property
    def state(self) -> str:
        """``connected`` between start and close, else ``disconnected``."""
        return "connected" if self._connected else "disconnected"

    def forget(self, records: Sequence[Record]) -> None:
        """These are done."""
        for record in records:
            self._cache.drop(record)
        self.ledger.delete([record.seq for record in records])

    def bury(self, deliveries: Sequence[Delivery]) -> None:
        """Move these to the dead queue."""
        copies = [dead_copy(delivery) for delivery in deliveries]
        filed = [(self._record(copy, copy.routing_key), copy.message) for copy in copies]
        rows = [row_of_record(record, message) for record, message in filed]
        originals = [delivery.token for delivery in deliveries if isinstance(delivery.token, Record)]
        for record in originals:
            self._cache.drop(record)
        self.ledger.move(rows, [record.seq for record in originals], partial(self._land, filed))

    def left(self, subscription: EmbeddedSubscription) -> None:
        """A subscription is closed."""
        self._subscriptions.discard(subscription)

    async def fetch(self, records: Sequence[Record]) -> dict[int, Message]:
        """The messages of records that are not in memory, by ``seq``."""
        seqs = [record.seq for record in records]
        return await self._storage.read(partial(_fetch, seqs)) if seqs else {}

    def _line(self, queue: str) -> Line:
        self._check_connected()
        line = self._lines.get(queue)
        if line is None:
            raise ConfigurationError(f"there is no queue {queue!r}; declare it first")
        return line

    def _check_connected(self) -> None:
        if not self._connected:
            raise BusUnavailable("the embedded bus is not started, or closed")


def _load(connection: Connection) -> tuple[_Rows, _Rows, _Rows]:
    q, b, m = tables.queues.c, tables.bindings.c, tables.messages.c
    waiting = select(m.seq, m.queue, m.exchange, m.routing_key, m.available_at, m.deliveries)
    return (
        connection.execute(select(q.name, q.single_active)).all(),
        connection.execute(select(b.exchange, b.pattern, b.queue)).all(),
        connection.execute(waiting.order_by(m.seq)).all(),
    )


def _save(queues: list[dict[str, Any]], bindings: list[dict[str, Any]], connection: Connection) -> None:
    """Insert what is not there yet: another declare may have been in the same transaction."""
    for table, rows in ((tables.queues, queues), (tables.bindings, bindings)):
        for row in rows:
            key = [table.c[column.name] == row[column.name] for column in table.primary_key]
            if connection.execute(select(table).where(*key)).first() is None:
                connection.execute(insert(table), row)


def _fetch(seqs: list[int], connection: Connection) -> dict[int, Message]:
    found = {}
    for start in range(0, len(seqs), _CHUNK):
        chosen = tables.messages.c.seq.in_(seqs[start : start + _CHUNK])
        for row in connection.execute(select(tables.messages).where(chosen)).mappings():
            found[row["seq"]] = message_of_row(row)
    return found


def _same_for_all(
    outgoing: Sequence[Outgoing], reason: str, besides: dict[int, BusError] | None = None
) -> dict[int, BusError]:
    return {index: BusUnavailable(reason) for index in range(len(outgoing)) if index not in (besides or {})}
