"""What of an outbox the broker does not take, and what comes behind it: kept apart; all else goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from bus.port import EVENTS
from contracts.errors import NotPermitted, PublishRefused, Unroutable
from orchestrator.journal import Journal
from orchestrator.outbox import MOST_TO_ONE, Destination, Post

__all__ = ["REFUSED", "Backlog", "Held"]

log = structlog.get_logger(__name__)

# What a broker says of one destination, and not of itself: no queue, a full one, none of this user's.
REFUSED = (Unroutable, PublishRefused, NotPermitted)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(slots=True, eq=False)
class Backlog:
    """What waits for one destination, in its order: the first in memory, the rest in the store alone.

    ``loaded`` is the newest position that is or was in memory, ``newest`` that there is. While
    ``refused``, one message asks from time to time (``at``) whether it is taken now.
    """

    to: Destination
    loaded: int
    newest: int
    posts: deque[Post] = field(default_factory=deque)
    refused: bool = False
    pause: float = _FIRST_PAUSE
    at: float = 0.0

    def add(self, post: Post) -> None:
        """One more, which the store has."""
        if post.position > self.loaded == self.newest and len(self.posts) < MOST_TO_ONE:
            self.posts.append(post)
            self.loaded = post.position
        self.newest = max(self.newest, post.position)

    def read(self, posts: list[Post]) -> None:
        """What the store has behind ``loaded``: all of it, or as many as are read at once."""
        if len(posts) == MOST_TO_ONE:
            # The last one is read again, with what there may be behind it.
            self.newest = max(self.newest, posts.pop().position)
            self.loaded = posts[-1].position
        else:
            self.loaded = self.newest = max([self.newest, *(post.position for post in posts)])
        self.posts.extend(posts)

    def first(self) -> list[Post]:
        """What to send next."""
        return [self.posts[0]] if self.refused else list(self.posts)

    def later(self, now: float) -> None:
        """Try again in a while, the next time in a longer one."""
        self.at = now + self.pause
        self.pause = min(_LONGEST_PAUSE, self.pause * 2)


class Held:
    """The backlogs of one partition.

    Order is a queue's, and a destination of commands is one queue: so what goes to the same destination
    waits behind what is held back, whatever run it is of, and nothing else does. (Events of one type have
    one destination, and those of another type may come before them to who listens to both.) However much that
    becomes, memory has the first few hundred of each; the outbox has all.
    """

    def __init__(self, journal: Journal, partition: int) -> None:
        self._journal = journal
        self._partition = partition
        self._backlogs: dict[Destination, Backlog] = {}

    def __bool__(self) -> bool:
        return bool(self._backlogs)

    def __len__(self) -> int:
        """How many are in memory."""
        return sum(len(backlog.posts) for backlog in self._backlogs.values())

    def resume(self, left: Sequence[Post]) -> list[Post]:
        """Keep what the last owner had left for destinations for which there may be more; the others."""
        by: dict[Destination, list[Post]] = {}
        for post in left:
            by.setdefault(post.to, []).append(post)
        for to, posts in by.items():
            if len(posts) == MOST_TO_ONE and to[0] != EVENTS:
                backlog = self._backlogs[to] = Backlog(to, -1, -1)
                backlog.read(posts)
        return [post for post in left if post.to not in self._backlogs]

    def hold(self, posts: Sequence[Post], error: Exception, now: float) -> None:
        """Hold these back, all to one destination, of which one was refused."""
        to, newest = posts[0].to, posts[-1].position
        backlog = self._backlogs[to] = Backlog(to, newest, newest, deque(posts))
        self._lost(backlog, error, now)

    def joins(self, post: Post) -> bool:
        """Whether others wait for the same queue; then it waits behind them."""
        backlog = self._backlogs.get(post.to)
        if backlog is None:
            return False
        backlog.add(post)
        return True

    def next_at(self) -> float | None:
        """When there is something to try."""
        return min((backlog.at for backlog in self._backlogs.values()), default=None)

    def due(self, now: float) -> list[Backlog]:
        """What to try now."""
        return [backlog for backlog in self._backlogs.values() if backlog.at <= now]

    def tried(self, backlog: Backlog, sent: int, errors: Mapping[int, Exception], now: float) -> None:
        """The first ``sent`` were published, with these errors by their index."""
        posts = [backlog.posts.popleft() for _ in range(sent)]
        backlog.posts.extendleft(posts[index] for index in sorted(errors, reverse=True))
        lost = next((error for error in errors.values() if isinstance(error, REFUSED)), None)
        if lost is not None:
            self._lost(backlog, lost, now)
        elif errors:
            backlog.later(now)
        else:
            backlog.pause, backlog.at = _FIRST_PAUSE, now
            if backlog.refused:
                backlog.refused = False
                log.info("outbox_goes_on", exchange=backlog.to[0], routing_key=backlog.to[1])

    async def fill(self, backlog: Backlog) -> bool:
        """Read what is only in the store when memory has nothing left. False when it is all out.

        Raises StoreError.
        """
        if not backlog.posts and backlog.loaded < backlog.newest:
            backlog.read(await self._journal.outbox_behind(self._partition, backlog.to, backlog.loaded))
        if not backlog.posts:
            del self._backlogs[backlog.to]
        return bool(backlog.posts)

    def _lost(self, backlog: Backlog, error: Exception, now: float) -> None:
        if not backlog.refused:  # once, and not each time that it is tried
            log.warning(
                "outbox_held_back",
                partition=self._partition,
                exchange=backlog.to[0],
                routing_key=backlog.to[1],
                message=backlog.posts[0].outgoing.message.id,
                error=str(error),
            )
        backlog.refused = True
        backlog.later(now)
