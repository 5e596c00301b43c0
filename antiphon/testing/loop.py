"""An event loop under virtual time: when nobody has anything to do, it is the time of the next timer.

There is no input or output, and there are no threads: what would run in one runs at once. Each callback
belongs to the simulated process in whose context it was made. One that is dead runs nothing any more,
like after ``kill -9``: no ``finally``, no ``except``. One that is frozen runs all of it later.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple

from antiphon.testing.sockets import no_sockets
from contracts.errors import AntiphonError

__all__ = ["Life", "NoNetwork", "NothingLeft", "VirtualLoop", "living"]

_MOST_BORN = 20_000
_AT_ONCE = 1e-6  # seconds; floats tell that much apart for more than a hundred years
_NO_IO = (
    "there are no sockets, pipes and processes in virtual time: what a step, a service or a reactor reaches "
    "outside of the app must be in memory here (docs/testing.md)"
)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class NoNetwork(AntiphonError):
    """Raised where something would leave the process."""


class NothingLeft(AntiphonError):
    """Raised when everybody waits and no timer is set: nothing can ever happen again."""


class Life:
    """Whether the process that it stands for runs, is frozen, or is dead."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self._held: list[tuple[_Gate, tuple[Any, ...], contextvars.Context]] = []

    def hold(self, gate: _Gate, args: tuple[Any, ...]) -> None:
        """Keep a callback until it goes on."""
        self._held.append((gate, args, contextvars.copy_context()))

    def thaw(self, loop: VirtualLoop) -> None:
        """Go on: all that would have run meanwhile runs now, in its order."""
        self.frozen = False
        held, self._held = self._held, []
        for gate, args, context in held:
            loop.call_soon(gate.again, *args, context=context)


_life: contextvars.ContextVar[Life | None] = contextvars.ContextVar("antiphon_life", default=None)


@contextmanager
def living(life: Life) -> Iterator[None]:
    """What begins within belongs to that process."""
    before = _life.set(life)
    try:
        yield
    finally:
        _life.reset(before)


class _Gate:
    """A callback of a simulated process."""

    __slots__ = ("callback", "handle", "life")

    def __init__(self, life: Life, callback: Callable[..., object]) -> None:
        self.life = life
        self.callback = callback
        self.handle: asyncio.Handle | None = None

    def __call__(self, *args: Any) -> None:
        if self.life.dead:
            return
        if self.life.frozen:
            self.life.hold(self, args)
        else:
            self.callback(*args)

    def again(self, *args: Any) -> None:
        """What was held goes on, unless it was called off by what went on before it."""
        if self.handle is None or not self.handle.cancelled():
            self(*args)


class _Leap:
    """Stands where a loop has its selector, and lets time pass instead of waiting for sockets."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingLeft("everybody waits, and no timer is set")
        if timeout > 0 and not self._loop.wait_on():
            self._loop.now += timeout
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Time begins at 0.0 seconds, and passes only when there is nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        # What is due within it is due. It is a nanosecond by default, less than a float of some months can
        # hold: what is due exactly now would then wait for ever.
        self._clock_resolution = _AT_ONCE
        self.now = 0.0
        self.failures: list[dict[str, Any]] = []
        self.refused: Callable[[str, str], None] = lambda who, why: None  # told of who wanted out
        # Asked when nobody has anything to do: whether it let time pass, beyond timers that do not matter.
        self.wait_on: Callable[[], bool] = lambda: False
        self.lookers = 0  # who only look on, and say themselves how far time may pass
        self._selector = _Leap(self)
        self._born: list[asyncio.Task[Any]] = []
        self._of_nobody: list[asyncio.TimerHandle] = []  # a heap
        self.set_task_factory(self._bear)
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def time(self) -> float:
        return self.now

    def run_forever(self) -> None:
        with no_sockets(self._refuse_io):
            super().run_forever()

    def spawn(self, life: Life, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``work`` as that process."""
        context = contextvars.copy_context()
        context.run(_life.set, life)
        return self.create_task(work, context=context)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """There are no threads here: it runs at once."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        gate = self._gate(callback, context)
        if gate is None:
            return super().call_soon(callback, *args, context=context)
        # A gate takes whatever its callback takes.
        gate.handle = super().call_soon(gate, *args, context=context)  # type: ignore[arg-type]
        return gate.handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        gate = self._gate(callback, context)
        if gate is None:
            handle = super().call_at(when, callback, *args, context=context)
            self._forget_the_past()
            heapq.heappush(self._of_nobody, handle)
            return handle
        handle = super().call_at(when, gate, *args, context=context)  # type: ignore[arg-type]
        gate.handle = handle
        return handle

    def next_of_nobody(self) -> float | None:
        """When the next timer is due that no simulated process has set: a test's, say, or a script's."""
        self._forget_the_past()
        return self._of_nobody[0].when() if self._of_nobody else None

    async def look(self, seconds: float) -> None:
        """Sleep like one who only looks on: that it is over is nothing that is due."""
        awake = self.create_future()
        handle = super().call_at(self.now + seconds, awake.set_result, None)
        self.lookers += 1
        try:
            await awake
        finally:
            self.lookers -= 1
            handle.cancel()

    def _forget_the_past(self) -> None:
        timers = self._of_nobody
        while timers and (timers[0].cancelled() or timers[0].when() <= self.now):
            heapq.heappop(timers)

    def _refuse_io(self, *given: Any, **more: Any) -> Any:
        life = _life.get()
        # Told as well as raised: clients wrap what they can't connect for in errors of their own.
        self.refused(life.name if life is not None else "the test", _NO_IO)
        raise NoNetwork(_NO_IO)

    create_connection = create_server = create_datagram_endpoint = _refuse_io
    getaddrinfo = getnameinfo = sock_accept = sock_connect = sock_recv = sock_sendall = _refuse_io
    connect_read_pipe = connect_write_pipe = subprocess_exec = subprocess_shell = _refuse_io
    create_unix_connection = create_unix_server = _refuse_io

    def end(self) -> None:
        """Let go of all that is still under way, and close."""
        # In the order of their birth, here and now: left to the garbage collector their ends would fall
        # into another seed.
        for task in self._born:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _drop(task.get_coro())
        self._born.clear()
        self.close()

    def _gate(self, callback: Any, context: contextvars.Context | None) -> _Gate | None:
        life = _life.get() if context is None else context.get(_life)
        return _Gate(life, callback) if life is not None else None

    def _bear(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        """Every task is held: those of a dead process must not end by being collected."""
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        if len(self._born) >= _MOST_BORN:
            self._born = [other for other in self._born if not other.done()]
        self._born.append(task)
        return task

    def _process_events(self, events: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits in a selector who would have to be woken."""


def _drop(work: Any) -> None:
    try:
        work.close()
    except (RuntimeError, asyncio.CancelledError, AssertionError):
        return  # it wanted to wait for something on its way out, and nothing comes any more
