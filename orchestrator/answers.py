"""Waits for what owners tell over the live feed, and asks the journal when they are not heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog

from contracts.errors import FeedTrimmed, LiveUnavailable
from orchestrator.announcer import answers_feed
from store.live.port import Live

__all__ = ["Answer", "Answers", "run_of", "start_of"]

log = structlog.get_logger(__name__)

# Seconds between looks into the journal: few, since news mostly come, and thousands may wait for them.
_FIRST_LOOK, _LONGEST_LOOK = 0.5, 4.0
_MOST_ENDED = 4_096  # endings that are remembered
_AGAIN = 1.0  # seconds until the live feed is asked again
_PATIENCE = 4  # times what an answer takes nowadays: a house under load is not asked on top of it


def start_of(run_id: str, start_id: str) -> str:
    """What to expect about a start. Workspaces may choose the same ``start_id``; the run differs."""
    return f"{run_id} {start_id}"


def run_of(id: str) -> str:
    """The run that ``start_of`` named."""
    return id.partition(" ")[0]


class Answer:
    """Something that is waited for, from ``with`` to its end."""

    __slots__ = ("_answers", "_began", "_first_look", "_loop", "id", "told")

    def __init__(self, answers: Answers, id: str, first_look: float) -> None:
        self.id = id
        self._answers = answers
        self._first_look = first_look  # seconds until the journal is asked for it
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.told: asyncio.Future[Any] = self._loop.create_future()

    # By hand: with ``contextmanager`` two of these would be a fiftieth of what a run costs.
    def __enter__(self) -> Answer:
        self._answers.awaits(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.forget(self, after=self._loop.time() - self._began)

    async def within(self, timeout: float, look: Callable[[], Awaitable[Any]]) -> Any:
        """What was told, or what ``look`` finds; None when neither came in ``timeout`` seconds."""
        loop = self._loop
        end = loop.time() + timeout
        pause = self._first_look
        while (left := end - loop.time()) > 0:
            await self._wait(min(left, pause))
            if self.told.done():
                return self.told.result()
            found = await self._looked_up(look, end - loop.time())
            if found is not None:
                return found
            pause = min(_LONGEST_LOOK, pause * 2)
        return self.told.result() if self.told.done() else None

    async def _wait(self, seconds: float) -> None:
        """Until it is told, at most so long. (``asyncio.wait`` does the same for sets, at a price.)"""
        waiter = self._loop.create_future()

        def wake(_: object = None) -> None:
            if not waiter.done():
                waiter.set_result(None)

        timer = self._loop.call_later(seconds, wake)
        self.told.add_done_callback(wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self.told.remove_done_callback(wake)

    async def _looked_up(self, look: Callable[[], Awaitable[Any]], limit: float) -> Any:
        """What is found, or told meanwhile: a slow store must not make whoever asks wait for longer."""
        looking = asyncio.ensure_future(look())
        try:
            await asyncio.wait({self.told, looking}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if self.told.done():
                return self.told.result()
            return looking.result() if looking.done() else None
        finally:
            looking.cancel()


class Answers:
    """What is told to one process: the outcomes of its starts, and the ends of the runs it started."""

    def __init__(
        self, live: Live, incarnation: str, *, started: Callable[[str], None] = lambda id: None
    ) -> None:
        self._live = live
        self._started = started  # told of each start's outcome, whether anybody still waits for it or not
        self._feed = answers_feed(incarnation)
        self._expected: dict[str, set[Answer]] = {}
        # A run may have ended before whoever started it begins to wait for that.
        self._ended: dict[str, None] = {}
        self._listener: asyncio.Task[None] | None = None
        self._usual = 0.0  # seconds that an answer takes, as it was lately

    async def start(self) -> None:
        """Begin to listen."""
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    def expect(self, id: str) -> Answer:
        """Expect an answer about a start or a run; begin before asking, so that none is missed."""
        return Answer(self, id, min(_LONGEST_LOOK, max(_FIRST_LOOK, _PATIENCE * self._usual)))

    def awaits(self, answer: Answer) -> None:
        """Tell this one, for as long as it is waited for."""
        if answer.id in self._ended:
            answer.told.set_result(True)
        self._expected.setdefault(answer.id, set()).add(answer)

    def forget(self, answer: Answer, *, after: float) -> None:
        """It is not waited for any more, after so many seconds."""
        if answer.told.done():
            self._usual += (after - self._usual) / 8
        waiting = self._expected[answer.id]
        waiting.discard(answer)
        if not waiting:
            del self._expected[answer.id]

    async def _listen(self) -> None:
        while True:
            try:
                async for _, entry in self._live.follow(self._feed):
                    self._hear(orjson.loads(entry))
                return  # the live store was closed: from here on the journal is asked
            except (LiveUnavailable, FeedTrimmed) as error:
                log.info("answers_missed", error=str(error))
                await asyncio.sleep(_AGAIN)

    def _hear(self, entry: dict[str, Any]) -> None:
        if "start_id" in entry:
            id, told = start_of(entry["run_id"], entry["start_id"]), entry["outcome"]
            self._started(id)
        else:
            id, told = entry.get("ended", ""), True
            self._ended[id] = None
            if len(self._ended) > _MOST_ENDED:
                del self._ended[next(iter(self._ended))]
        for answer in self._expected.get(id, ()):
            if not answer.told.done():
                answer.told.set_result(told)
