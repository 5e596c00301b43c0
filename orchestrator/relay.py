"""Publishes a partition's outbox: what was committed, in that order, until the broker has it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from bus.port import EVENTS, Bus
from contracts.crash import reached
from contracts.errors import BusError, PublishFailed, StoreError, Unroutable
from orchestrator.held import REFUSED, Held
from orchestrator.journal import Journal, Post
from orchestrator.room import Room

__all__ = ["Relay"]

log = structlog.get_logger(__name__)

_BATCH = 500
_MOST_WAITING = 5_000  # messages; behind them the partition takes nothing new until the broker takes some
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Relay:
    """One for each partition. ``done`` gets the positions that need not be kept any more.

    A message that is not confirmed is published again before all behind it that are not either. One
    that reached no queue, or that the broker refuses, is held back instead, with what comes behind it for
    the same destination: a service that is not there, or whose queue is full, is of no concern to the others.
    """

    def __init__(
        self, bus: Bus, journal: Journal, partition: int, done: Callable[[Sequence[int]], None]
    ) -> None:
        self._bus = bus
        self._journal = journal
        self._done = done
        self._waiting: deque[Post] = deque()
        self._sending: list[Post] = []
        self._held = Held(journal, partition)
        self._room = Room(_MOST_WAITING)
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """How many messages are here to be published."""
        return len(self._waiting) + len(self._sending) + len(self._held)

    def start(self) -> None:
        """Begin to publish."""
        self._task = asyncio.create_task(self._run())

    def resume(self, left: Sequence[Post]) -> None:
        """Take what the last owner had committed, as the journal reads it."""
        self.put(self._held.resume(left))
        self._wake.set()

    def put(self, posts: Sequence[Post]) -> None:
        """Take what was just committed, in the order of its positions."""
        if posts:
            self._waiting.extend(posts)
            self._note_room()
            self._wake.set()

    async def room(self) -> None:
        """Return once the broker has taken enough for more to be committed."""
        await self._room.wait()

    async def stop(self, grace: float) -> None:
        """Publish what is there for ``grace`` seconds at the most; the rest stays in the outbox."""
        if self._waiting or self._sending:
            self._drained.clear()
            try:
                async with asyncio.timeout(grace):
                    await self._drained.wait()
            except TimeoutError:
                waiting = len(self._waiting) + len(self._sending)
                log.warning("outbox_left_to_the_next_owner", waiting=waiting)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _note_room(self) -> None:
        # Without what is held back: that waits for one destination, and memory has little of it.
        self._room.note(len(self._waiting) + len(self._sending))

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            if not self._waiting:
                self._drained.set()
                self._wake.clear()
                await self._woken()
            well = await self._send()
            if self._held:
                await self._retry()
            if well:
                pause = _FIRST_PAUSE
            else:
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)

    async def _woken(self) -> None:
        """Return when there is more, or when what is held back is to be tried again."""
        try:
            async with asyncio.timeout_at(self._held.next_at()):
                await self._wake.wait()
        except TimeoutError:
            pass  # it is

    async def _send(self) -> bool:
        """Publish what waits first; false where the broker is to be left alone for a while."""
        batch = self._sending = self._next()
        errors = await self._publish(batch) if batch else {}
        if errors:
            self._hold_back(batch, errors)
            self._waiting.extendleft(batch[index] for index in sorted(errors, reverse=True))
        self._sending = []
        self._note_room()
        return not errors

    def _next(self) -> list[Post]:
        """The first that wait; those for which others of the same destination are held back join these."""
        waiting = self._waiting
        if not self._held:
            return [waiting.popleft() for _ in range(min(_BATCH, len(waiting)))]
        batch: list[Post] = []
        while waiting and len(batch) < _BATCH:
            post = waiting.popleft()
            if not self._held.joins(post):
                batch.append(post)
        return batch

    def _hold_back(self, batch: list[Post], errors: dict[int, Exception]) -> None:
        """Take out of ``errors`` what goes to a destination to which a message could not go."""
        lost = {batch[index].to: error for index, error in errors.items() if isinstance(error, REFUSED)}
        failed = sorted(errors)
        for to, error in lost.items():
            indexes = [index for index in failed if batch[index].to == to]
            self._held.hold([batch[index] for index in indexes], error, _now())
            for index in indexes:
                del errors[index]

    async def _retry(self) -> None:
        """Publish what is held back and due; each destination has a pause of its own."""
        for backlog in self._held.due(_now()):
            try:
                if not await self._held.fill(backlog):
                    continue
            except Exception as error:  # of whatever kind: the relay must go on
                log.warning("outbox_not_read", error=str(error), exc_info=not isinstance(error, StoreError))
                backlog.later(_now())
                continue
            posts = backlog.first()
            errors = await self._publish(posts)
            self._held.tried(backlog, len(posts), errors, _now())

    async def _publish(self, posts: list[Post]) -> dict[int, Exception]:
        """What is not settled and why, by its index."""
        try:
            errors = await self._try(posts)
        except Exception as error:  # the relay must go on, whatever an adapter raises
            log.exception("relay_failed")
            return dict.fromkeys(range(len(posts)), error)
        settled = [post.position for index, post in enumerate(posts) if index not in errors]
        if settled:
            self._done(settled)
        return errors

    async def _try(self, posts: list[Post]) -> dict[int, Exception]:
        try:
            reached("orchestrator.relay.publish.before")
            await self._bus.publish(*[post.outgoing for post in posts])
            reached("orchestrator.relay.publish.after")
            return {}
        except PublishFailed as failure:
            return await self._unsettled(posts, failure.errors)

    async def _unsettled(self, posts: list[Post], errors: Mapping[int, BusError]) -> dict[int, Exception]:
        unheard = {index for index, error in errors.items() if _nobody_listens(posts[index], error)}
        if unheard:
            await self._note([posts[index] for index in sorted(unheard)])
        left: dict[int, Exception] = {index: errors[index] for index in errors if index not in unheard}
        stopped = min((index for index in left if not isinstance(left[index], REFUSED)), default=None)
        if stopped is not None:
            first = posts[stopped].outgoing
            log.warning(
                "outbox_not_published",
                exchange=first.exchange,
                routing_key=first.routing_key,
                message=first.message.id,
                error=str(left[stopped]),
                waiting=len(self._waiting) + len(self._sending),
            )
        return left

    async def _note(self, posts: list[Post]) -> None:
        """An event that nobody listens to is no failure; but it is no success either, so it is noted."""
        events = [_source_and_id(post) for post in posts]
        try:
            await self._journal.unrouted(events)
        except StoreError as error:
            log.warning("unrouted_not_noted", events=len(events), error=str(error))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _nobody_listens(post: Post, error: Exception) -> bool:
    return isinstance(error, Unroutable) and post.outgoing.exchange == EVENTS


def _source_and_id(post: Post) -> tuple[str, str]:
    message = post.outgoing.message
    return str(message.headers.get("cloudEvents:source", "")), message.id
