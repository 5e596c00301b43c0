"""One bounded run of a handler."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from reactors.failure import Failure

__all__ = ["attempt"]

GRACE = 1.0  # seconds that a cancelled handler has to clean up

# Handlers that ignored their cancellation. Held strongly: asyncio keeps weak references to tasks.
_abandoned: set[asyncio.Task[Any]] = set()


async def attempt(work: Coroutine[Any, Any, Any], *, timeout: float, name: str) -> Any | Failure:
    """What ``work`` returned, or the Failure: its exception, or that it took over ``timeout`` seconds.

    It runs in a task of its own, so that one that ignores its cancellation blocks nobody: it is left
    behind and reported. When the caller is cancelled the handler is, too.
    """
    task = asyncio.create_task(work, name=name)
    try:
        await _ended(task, timeout)
    except asyncio.CancelledError:
        await _cancel(task)
        raise
    if not task.done():
        await _cancel(task)
        return Failure.timed_out(timeout)
    if task.cancelled():
        return Failure("Cancelled", "the handler cancelled itself", "cancelled", terminal=False)
    error = task.exception()
    return Failure.of(error) if error is not None else task.result()


async def _ended(task: asyncio.Task[Any], timeout: float) -> None:
    """Return when the task has ended or the time is up: ``asyncio.wait`` for one, at half of its price."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_task: asyncio.Task[Any] | None = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(timeout, wake)
    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
        task.remove_done_callback(wake)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=GRACE)
    if task.done():
        if not task.cancelled():
            task.exception()  # marks it as seen: the attempt has failed already
        return
    _abandoned.add(task)
    task.add_done_callback(_forget)
    structlog.get_logger("antiphon.reactors").error(
        "handler did not stop when it was cancelled; it is left running and its result ignored",
        handler=task.get_name(),
    )


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()
