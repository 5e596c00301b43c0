"""Threads for the steps that are plain functions: so many at once, however many of them never end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent import futures
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import structlog

from orchestrator.context import StepContext

__all__ = ["MOST", "Place", "Threads"]

log = structlog.get_logger(__name__)

MOST = 64
"""Functions at once. They wait for others most of the time, so that it is far more than there are processors;
more would have little use of one interpreter, and a megabyte or more of memory each."""

T = TypeVar("T")


class Threads:
    """Places for ``most`` functions at once; who wants one waits for it before its time begins to count.

    A thread can't be stopped. One whose function is not waited for any more gives its place back, so that the
    others go on, and is named in the log; ``most`` of these at the most, and beyond them a place is free only
    when its function has ended.
    """

    def __init__(self, most: int = MOST) -> None:
        self._places = asyncio.Semaphore(most)
        self._most_left = most
        self._left = 0
        self._pool = _Daemons()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A place, once there is one; what it was for is to be called in it once, or not at all."""
        await self._places.acquire()
        place = Place(self)
        try:
            yield place
        finally:
            place.leave()

    def close(self) -> None:
        """End what is idle; the others end with their functions, or with the process."""
        self._pool.shutdown()

    async def call(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread, now: there is one for each place."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def free(self) -> None:
        """One place more."""
        self._places.release()

    def done_with(self, work: _Work, context: StepContext) -> None:
        """Nobody waits for ``work`` any more, whether it has ended or not."""
        loop = asyncio.get_running_loop()
        spare = self._left < self._most_left
        then = self._ended_late if spare else self.free
        if not work.when_ended(lambda: _tell(loop, then)):
            self.free()
            return
        if spare:
            self._left += 1
            self.free()
        log.warning(
            "step_left_in_its_thread",
            run=context.run_id,
            flow=context.flow,
            node=context.node,
            attempt=context.attempt,
            replaced=spare,
            left=self._left,
        )

    def _ended_late(self) -> None:
        self._left -= 1


class Place:
    """One of the places in ``Threads``."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._mine = True

    async def call(self, function: Callable[[StepContext], T], context: StepContext) -> T:
        """What the function returns, in a thread; the place is given back with its end, or with ours."""
        work = _Work(partial(copy_context().run, function, context))
        try:
            result: T = await self._threads.call(work)
        finally:
            self._mine = False
            self._threads.done_with(work, context)
        return result

    def leave(self) -> None:
        """Give it back, if it has not been used."""
        if self._mine:
            self._mine = False
            self._threads.free()


class _Work:
    """A call that is begun in a thread unless it was called off before, and tells who left it of its end."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._begun = False
        self._over = False
        self._tell: Callable[[], None] | None = None

    def __call__(self) -> Any:
        with self._lock:
            if self._over:
                return None
            self._begun = True
        try:
            return self._call()
        finally:
            with self._lock:
                self._over = True
            if self._tell is not None:
                self._tell()

    def when_ended(self, tell: Callable[[], None]) -> bool:
        """Whether it is under way; ``tell`` is then called at its end. What has not begun never does."""
        with self._lock:
            if self._begun and not self._over:
                self._tell = tell
                return True
            self._over = True
            return False


class _Daemons(futures.Executor):
    """A thread for whatever comes; idle ones are used again, and no exit of the process waits for any.

    (``ThreadPoolExecutor`` joins its threads at exit: one function that hangs would keep the process.)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[tuple[futures.Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._idle = 0
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **named: Any) -> futures.Future[T]:
        future: futures.Future[T] = futures.Future()
        with self._lock:
            idle = self._idle > 0
            self._idle -= idle
        if not idle:
            threading.Thread(target=self._run, name="antiphon-step", daemon=True).start()
        self._waiting.put((future, partial(fn, *args, **named)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._waiting.put(None)

    def _run(self) -> None:
        closed = False
        while not closed and (given := self._waiting.get()) is not None:
            future, call = given
            result, error = _outcome(call) if future.set_running_or_notify_cancel() else (None, None)
            with self._lock:  # before anybody hears of it: whoever does finds this thread idle
                closed = self._closed
                self._idle += not closed
            if error is not None:
                future.set_exception(error)
            elif not future.cancelled():
                future.set_result(result)
            del given, future, call, result, error  # idle, it keeps nothing of them in memory


def _outcome(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """What it returns, or what it raises, whatever that is: it is for whoever waits."""
    try:
        return call(), None
    except BaseException as error:
        return None, error


def _tell(loop: asyncio.AbstractEventLoop, then: Callable[[], None]) -> None:
    """From a thread that may have outlived the loop."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(then)
