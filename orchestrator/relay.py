"""Publishes a partition's outbox: what was committed, in that order, until the broker has it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from bus.port import EVENTS, Bus
from contracts.crash import reached
from contracts.errors import PublishFailed, StoreError, Unroutable
from orchestrator.journal import Journal, Post
from orchestrator.room import Room

__all__ = ["Relay"]

log = structlog.get_logger(__name__)

_BATCH = 500
_MOST_WAITING = 5_000  # messages; behind them the partition takes nothing new until the broker takes some
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Relay:
    """One for each partition. ``done`` gets the positions that need not be kept any more.

    When a message is not confirmed, it and all behind it are published again: later is better than
    out of order, and whoever has had one of them already knows its id.
    """

    def __init__(self, bus: Bus, journal: Journal, done: Callable[[Sequence[int]], None]) -> None:
        self._bus = bus
        self._journal = journal
        self._done = done
        self._waiting: deque[Post] = deque()
        self._room = Room(_MOST_WAITING)
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """How many messages wait to be published."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to publish."""
        self._task = asyncio.create_task(self._run())

    def put(self, posts: Sequence[Post]) -> None:
        """Take what was just committed."""
        if posts:
            self._waiting.extend(posts)
            self._room.note(len(self._waiting))
            self._wake.set()

    async def room(self) -> None:
        """Return once the broker has taken enough for more to be committed."""
        await self._room.wait()

    async def stop(self, grace: float) -> None:
        """Publish what is there for ``grace`` seconds at the most; the rest stays in the outbox."""
        if self._waiting:
            self._drained.clear()
            try:
                async with asyncio.timeout(grace):
                    await self._drained.wait()
            except TimeoutError:
                log.warning("outbox_left_to_the_next_owner", waiting=len(self._waiting))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            if not self._waiting:
                self._drained.set()
                self._wake.clear()
                await self._wake.wait()
            batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
            try:
                confirmed = await self._publish(batch)
            except Exception:  # the relay must go on, whatever an adapter raises
                log.exception("relay_failed")
                confirmed = 0
            for _ in range(confirmed):
                self._waiting.popleft()
            if confirmed:
                self._room.note(len(self._waiting))
                self._done([post.position for post in batch[:confirmed]])
            if confirmed == len(batch):
                pause = _FIRST_PAUSE
            else:
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)

    async def _publish(self, batch: list[Post]) -> int:
        """How many from the front are settled."""
        try:
            reached("orchestrator.relay.publish.before")
            await self._bus.publish(*(post.outgoing for post in batch))
            reached("orchestrator.relay.publish.after")
            return len(batch)
        except PublishFailed as failure:
            errors = failure.errors
        unheard = [index for index, error in errors.items() if _nobody_listens(batch[index], error)]
        if unheard:
            await self._note([batch[index] for index in unheard])
        stopped = sorted(index for index in errors if index not in unheard)
        if stopped:
            first = batch[stopped[0]].outgoing
            log.warning(
                "outbox_not_published",
                exchange=first.exchange,
                routing_key=first.routing_key,
                message=first.message.id,
                error=str(errors[stopped[0]]),
                waiting=len(self._waiting),
            )
        return stopped[0] if stopped else len(batch)

    async def _note(self, posts: list[Post]) -> None:
        """An event that nobody listens to is no failure; but it is no success either, so it is noted."""
        events = [_source_and_id(post) for post in posts]
        try:
            await self._journal.unrouted(events)
        except StoreError as error:
            log.warning("unrouted_not_noted", events=len(events), error=str(error))


def _nobody_listens(post: Post, error: Exception) -> bool:
    return isinstance(error, Unroutable) and post.outgoing.exchange == EVENTS


def _source_and_id(post: Post) -> tuple[str, str]:
    message = post.outgoing.message
    return str(message.headers.get("cloudEvents:source", "")), message.id
