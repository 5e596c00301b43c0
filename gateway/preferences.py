"""The Prefer header (RFC 7240): how long to wait, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

__all__ = ["unless_gone", "wait_preference"]

T = TypeVar("T")


def wait_preference(header: str | None, longest: float) -> float | None:
    """Seconds to wait for a result, ``longest`` at the most; None without a ``wait`` we understand.

    A preference that can't be read is ignored, and the first of several counts (RFC 7240 §2).
    """
    for part in (header or "").split(","):
        name, separator, value = part.partition(";")[0].partition("=")
        if name.strip().lower() != "wait" or not separator:
            continue
        seconds = value.strip().strip('"')
        # isdigit alone takes digits of other scripts, and int() has no limit on how long it works.
        if seconds.isascii() and seconds.isdigit() and len(seconds) <= 9:
            return min(float(seconds), longest)
        return None
    return None


async def unless_gone(request: Request, waiting: Coroutine[Any, Any, T]) -> T:
    """What ``waiting`` comes to. Raises ClientDisconnect once there is nobody to tell; the body has come."""
    tasks = (asyncio.create_task(waiting, name="waits"), asyncio.create_task(_gone(request), name="gone"))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientDisconnect
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
