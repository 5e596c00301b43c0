"""The group-commit writer: what many callers want written at the same moment is one transaction.

Where a group has a shortcut (``store.shortcut``), it is one statement of its own instead, beside the
transaction of those that have none.

While a transaction is under way, newly submitted items gather; the next one takes them all. No timer
is involved: alone, an item is committed at once; under load, batches grow with it. Between two
transactions the event loop gets a few turns if the last one was shared: whoever was just answered often
has its next item ready in a moment, and one commit for all costs less than two.

A transaction that fails as a whole is undone and its items are tried again in halves, down to the
bad one, which alone gets the error: a good item neither fails nor is applied twice because of its
neighbours. A database that does not answer fails them all with StoreUnavailable, since the fate of
the commit may be unknown: whoever submits again does so with an id that makes a repeat harmless.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection

from contracts.errors import StoreUnavailable
from store.engine import RunSingle
from store.shortcut import Shortcut

__all__ = ["GroupCommit", "Transact", "Writer"]

I = TypeVar("I")  # noqa: E741 - the item
R = TypeVar("R")
T = TypeVar("T")

MOST_PER_TRANSACTION = 2_000
_TURNS = 8  # of the event loop; each is tens of microseconds

Apply = Callable[[Connection, list[Any]], Sequence[Any]]


class Transact(Protocol):
    """Runs a work in one transaction; see ``store.engine``."""

    async def __call__(self, work: Callable[[Connection], T]) -> T: ...


class _Job:
    """An item on its way: which ``apply`` it belongs to, and who waits for it."""

    __slots__ = ("apply", "future", "item", "shortcut")

    def __init__(
        self, apply: Apply, item: Any, future: asyncio.Future[Any], shortcut: Shortcut[Any, Any] | None
    ) -> None:
        self.apply = apply
        self.shortcut = shortcut
        self.item = item
        self.future = future

    def resolve(self, outcome: Any) -> None:
        if self.future.done():  # the submitter was cancelled meanwhile
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Writer:
    """Gathers items and commits them together. ``writers`` transactions may run side by side.

    With one writer, items take effect in the order in which they were submitted (within one
    transaction: group by group).
    """

    def __init__(
        self,
        transact: Transact,
        *,
        writers: int = 1,
        most: int = MOST_PER_TRANSACTION,
        single: RunSingle | None = None,
        writing: bool = True,
    ) -> None:
        self._transact = transact
        self._single = single
        self._writing = writing
        self._writers = writers
        self._most = most
        self._pending: deque[_Job] = deque()
        self._busy = 0
        self._tasks: set[asyncio.Task[None]] = set()  # strong references: asyncio keeps weak ones
        self._closed = False

    def enqueue(
        self, apply: Apply, item: Any, shortcut: Shortcut[Any, Any] | None = None
    ) -> asyncio.Future[Any]:
        """Take an item; the future is done once its transaction is committed or has failed."""
        if self._closed:
            raise StoreUnavailable("the database was closed; open it again before writing")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending.append(_Job(apply, item, future, shortcut))
        if self._busy < self._writers:
            self._busy += 1
            task = asyncio.create_task(self._drain(), name="antiphon-store-writer")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def close(self) -> None:
        """Refuse new items, and return when those taken have ended."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drain(self) -> None:
        last = 1
        try:
            while self._pending:
                for _ in range(_TURNS if last > 1 else 0):
                    await asyncio.sleep(0)
                jobs = self._take()
                if jobs:
                    await self._commit(jobs)
                last = len(jobs)
        finally:
            self._busy -= 1

    def _take(self) -> list[_Job]:
        """Everything pending up to the limit, without what was given up before it began."""
        pending = self._pending
        if len(pending) <= self._most:
            taken = list(pending)
            pending.clear()
        else:
            taken = [pending.popleft() for _ in range(self._most)]
        return [job for job in taken if not job.future.done()]

    async def _commit(self, jobs: list[_Job]) -> None:
        groups = _by_apply(jobs)
        if self._single is not None and len(groups) > 1:
            short = [group for group in groups if group[0].shortcut is not None]
            if short:
                # A statement for each is less than one transaction, in which each takes several.
                rest = [job for group in groups if group[0].shortcut is None for job in group]
                for part in [*short, rest] if rest else short:
                    await self._commit(part)
                return
        try:
            outcomes = await self._take_shortcut(groups)
            if outcomes is None:
                outcomes = await self._transact(lambda connection: _apply_all(connection, groups))
        except StoreUnavailable as error:
            for job in jobs:
                job.resolve(_copy(error))
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].resolve(error)
                return
            for part in _parts(groups):
                await self._commit(part)
        else:
            for group, results in zip(groups, outcomes, strict=True):
                for job, result in zip(group, results, strict=True):
                    job.resolve(result)

    async def _take_shortcut(self, groups: list[list[_Job]]) -> list[Sequence[Any]] | None:
        """What one statement made of a group that is alone; None when it takes a transaction."""
        shortcut = groups[0][0].shortcut
        if self._single is None or shortcut is None or len(groups) > 1:
            return None
        items = [job.item for job in groups[0]]
        statement = shortcut.statement(items)
        if statement is None:
            return None
        rows = await self._single(statement, writing=self._writing)
        return None if rows is None else [_one_each(shortcut.results, items, shortcut.results(items, rows))]


class GroupCommit(Generic[I, R]):
    """A typed way into the writer: items of concurrent submitters reach ``apply`` together.

    ``apply`` gets the items in the order of submission, and returns one result for each. A result
    that is an Exception is raised to that item's submitter while the others' writes stand: for
    refusals that need no rollback. What ``apply`` raises undoes the transaction, and the items are
    tried in smaller company. It may therefore run several times for one item, and must have no
    effect outside of its connection.
    """

    def __init__(
        self,
        writer: Writer,
        apply: Callable[[Connection, list[I]], Sequence[R | Exception]],
        shortcut: Shortcut[I, R] | None = None,
    ) -> None:
        self._writer = writer
        self._apply = apply
        self._shortcut = shortcut

    async def submit(self, item: I) -> R:
        """Commit ``item``; returns its result. Raises what ``apply`` raised, or StoreUnavailable."""
        result: R = await self._writer.enqueue(self._apply, item, self._shortcut)
        return result


def _by_apply(jobs: list[_Job]) -> list[list[_Job]]:
    groups: dict[Apply, list[_Job]] = {}
    for job in jobs:
        groups.setdefault(job.apply, []).append(job)
    return list(groups.values())


def _apply_all(connection: Connection, groups: list[list[_Job]]) -> list[Sequence[Any]]:
    outcomes: list[Sequence[Any]] = []
    for group in groups:
        apply = group[0].apply
        items = [job.item for job in group]
        outcomes.append(_one_each(apply, items, apply(connection, items)))
    return outcomes


def _one_each(made_by: Callable[..., Any], items: list[Any], results: Sequence[Any]) -> Sequence[Any]:
    if len(results) != len(items):
        name = getattr(made_by, "__qualname__", repr(made_by))
        raise TypeError(f"{name} returned {len(results)} results for {len(items)} items; one each is needed")
    return results


def _parts(groups: list[list[_Job]]) -> list[list[_Job]]:
    """What to try one after the other when ``groups`` failed together: each group, or two halves."""
    if len(groups) > 1:
        return groups
    jobs = groups[0]
    middle = len(jobs) // 2
    return [jobs[:middle], jobs[middle:]]


def _copy(error: StoreUnavailable) -> StoreUnavailable:
    """An exception for each submitter: one that is raised in many tasks would collect all their frames."""
    copy = StoreUnavailable(*error.args)
    copy.__cause__ = error.__cause__
    return copy
