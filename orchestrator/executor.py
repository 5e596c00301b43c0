"""Runs steps in this process."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import lru_cache, partial
from typing import Any

import orjson
import structlog
from pydantic import BaseModel

from contracts.crash import reached
from contracts.envelope import derive_id
from contracts.errors import Retryable, Terminal
from orchestrator.context import StepContext
from orchestrator.effects import Dispatch, StandInLine
from orchestrator.flow import Flow
from orchestrator.happenings import StepFailed, StepFinished, TurnCame
from orchestrator.line import Line
from orchestrator.nodes import Command, StepFunction
from orchestrator.room import Room
from orchestrator.run import Run
from orchestrator.threads import MOST as THREADS
from orchestrator.threads import Place, Threads

__all__ = ["Executor", "Report"]

log = structlog.get_logger(__name__)

Report = Callable[[str, StepFinished | StepFailed], None]

_Work = Callable[[], Coroutine[Any, Any, None]]

_CALLED = 60.0  # seconds from its turn until the order is there; then the next one's turn comes


class Executor:
    """Runs steps as tasks, at most ``most`` at once, and reports each outcome exactly once.

    A plain ``def`` runs in a thread, so that it can't stop the event loop: at most ``threads`` at once. An
    attempt that takes longer than its timeout, without what it waited to begin, is cancelled; its outcome is
    then unknown. (A thread can't be cancelled: it goes on, and what it returns counts no more.)
    """

    def __init__(self, *, most: int = 1000, threads: int = THREADS) -> None:
        self._threads = Threads(threads)
        self._slots = asyncio.Semaphore(most)
        self._room = Room(2 * most)  # as many again wait for a slot; more would be memory and no progress
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._line = Line()
        self._in_line: dict[tuple[str, str], asyncio.Future[_Work]] = {}

    @property
    def at_work(self) -> int:
        """How many attempts are in hand."""
        return len(self._tasks)

    async def room(self) -> None:
        """Return once there is room for more; attempts end by themselves, at the latest by their timeout."""
        await self._room.wait()

    def works_for(self, these: Callable[[str], bool]) -> bool:
        """Whether any attempt of these runs is in hand; what only stands in line is not."""
        return any(these(key[0]) for key in self._tasks if key not in self._in_line)

    def stands_in_line(self, run_id: str, node: str) -> bool:
        """Whether a node waits for its turn here."""
        return (run_id, node) in self._in_line

    def works_on(self, run_id: str, node: str) -> bool:
        """Whether an attempt of this node is in hand."""
        return (run_id, node) in self._tasks

    def dispatch(self, run: Run, flow: Flow, order: Dispatch, report: Report) -> None:
        """Start an attempt; ``report(run_id, outcome)`` is called when it has ended."""
        node = flow.plan.places[order.node].node
        function = _function(node, order.back)
        # Copies: a step that changes what it is given must not change the run behind the journal's back,
        # and sees the same after a restart.
        given = orjson.loads(orjson.dumps([run.input, run.results, run.error]))
        context = StepContext(
            input=given[0],
            results=given[1],
            key=derive_id("step", run.id, order.node, "back" if order.back else "forth"),
            attempt=order.attempt,
            run_id=run.id,
            run_key=run.key,
            workspace=run.workspace,
            correlation=run.correlation,
            flow=flow.name,
            node=order.node,
            error=given[2],
        )
        work = partial(self._run, function, context, order, report)
        called = self._in_line.pop((run.id, order.node), None)
        if called is not None and not called.done():
            called.set_result(work)
        else:
            self._begin((run.id, order.node), work())

    def stand_in_line(
        self, run_id: str, place: StandInLine, happened: Callable[[str, TurnCame], None]
    ) -> None:
        """Tell, by ``happened``, when the turn of a node has come; what is ordered then has its share."""
        key = (run_id, place.node)
        self.abandon(*key)
        called: asyncio.Future[_Work] = asyncio.get_running_loop().create_future()
        self._in_line[key] = called
        come = partial(happened, run_id, TurnCame(place.node, place.dispatch))
        self._begin(key, self._wait_in_line(place, called, come))

    def abandon(self, run_id: str, node: str) -> None:
        """Stop an attempt whose outcome does not matter any more."""
        self._in_line.pop((run_id, node), None)
        task = self._tasks.pop((run_id, node), None)
        if task is not None:
            task.cancel()
            self._room.note(len(self._tasks))

    def abandon_all(self, these: Callable[[str], bool]) -> None:
        """Stop every attempt of these runs, and what of them stands in line."""
        for run_id, node in [key for key in self._tasks if these(key[0])]:
            self.abandon(run_id, node)

    async def stop(self, grace: float) -> None:
        """Let what is at work end for ``grace`` seconds, then cancel it; nothing more is reported."""
        for key in list(self._in_line):
            self.abandon(*key)
        tasks = set(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._threads.close()

    def _begin(self, key: tuple[str, str], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[key] = task
        self._room.note(len(self._tasks))
        task.add_done_callback(lambda done: self._forget(key, done))

    async def _wait_in_line(
        self, place: StandInLine, called: asyncio.Future[_Work], come: Callable[[], None]
    ) -> None:
        async with self._line.share(place.share):
            come()
            done, _ = await asyncio.wait([called], timeout=_CALLED)
            if done:
                await called.result()()

    def _forget(self, key: tuple[str, str], done: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is done:
            del self._tasks[key]
            self._in_line.pop(key, None)
            self._room.note(len(self._tasks))

    async def _run(
        self, function: StepFunction, context: StepContext, order: Dispatch, report: Report
    ) -> None:
        if _is_async(function):
            async with self._slots:
                outcome = await _attempt(function, context, order)
        else:  # what waits for a thread takes no slot from others, and none of its own time
            async with self._threads.place() as place, self._slots:
                outcome = await _attempt(function, context, order, place)
        report(context.run_id, outcome)


async def _attempt(
    function: StepFunction, context: StepContext, order: Dispatch, place: Place | None = None
) -> StepFinished | StepFailed:
    def failed(
        code: str, message: str, *, definite: bool = False, retry_after: float | None = None
    ) -> StepFailed:
        return StepFailed(
            order.node, order.attempt, code, message, definite, retry_after, order.dispatch, order.back
        )

    limit = _Limit(order.timeout)
    try:
        result = _plain(await _call(function, context, place))
        return StepFinished(order.node, order.attempt, result, order.dispatch, order.back)
    except Terminal as error:
        return failed(error.code, str(error), definite=True)
    except Retryable as error:
        return failed("retryable", str(error), retry_after=error.retry_after)
    except (Exception, asyncio.CancelledError, SystemExit) as error:
        # Whatever a user's step raises is the attempt's outcome, not the engine's: also a cancellation
        # that nobody here asked for, which would else leave the run at work for ever.
        if isinstance(error, asyncio.CancelledError) and limit.cancelled_by_others():
            raise
        if isinstance(error, TimeoutError | asyncio.CancelledError) and limit.reached:
            return failed("timeout", f"took longer than {order.timeout:g} s")
        log.warning("step_raised", run=context.run_id, node=order.node, attempt=order.attempt, exc_info=True)
        return failed("exception", f"{type(error).__name__}: {error}")
    finally:
        limit.end()


class _Limit:
    """Cancels the task that makes it after so many seconds: ``asyncio.timeout`` at a quarter of its price."""

    __slots__ = ("_task", "_timer", "reached")

    def __init__(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("an attempt is made in a task")
        self.reached = False
        self._task = task
        self._timer = loop.call_later(seconds, self._cancel)

    def _cancel(self) -> None:
        self.reached = True
        self._task.cancel()

    def cancelled_by_others(self) -> bool:
        """Whether somebody else wants the task to end, whatever this limit did."""
        return self._task.cancelling() > self.reached

    def end(self) -> None:
        """The attempt is over."""
        self._timer.cancel()
        if self.reached:
            self._task.uncancel()


_is_async = lru_cache(inspect.iscoroutinefunction)


async def _call(function: StepFunction, context: StepContext, place: Place | None) -> Any:
    if place is None:
        reached("orchestrator.executor.step.before")
        result = await function(context)
        reached("orchestrator.executor.step.after")
        return result
    reached("orchestrator.executor.thread.before")
    result = await place.call(function, context)
    reached("orchestrator.executor.thread.after")
    return await result if inspect.isawaitable(result) else result


def _plain(result: Any) -> Any:
    """The result as it will be read back. Raises TypeError when it is no JSON.

    The first reader must see what a later one sees after a restart, so that it goes through JSON here.
    """
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="json")
    try:
        return orjson.loads(orjson.dumps(result))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise TypeError(
            f"a step returns JSON or a pydantic model, not {type(result).__name__}: {error}"
        ) from error


def _function(node: Any, back: bool) -> StepFunction:
    function = node.compensate if back else node.run
    if function is None or isinstance(function, Command):
        raise Terminal(f"{node.name!r} does not run here", code="wrong_flow")
    found: StepFunction = function
    return found
