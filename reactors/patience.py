"""Waiting for the store or the bus to come back, instead of failing with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from contracts.errors import AntiphonError

__all__ = ["patiently"]

T = TypeVar("T")

FIRST = 0.1  # seconds
MOST = 5.0


async def patiently(
    call: Callable[[], Awaitable[T]],
    *passing: type[AntiphonError],
    what: str,
    rng: Callable[[], float],
    unless: tuple[type[AntiphonError], ...] = (),
) -> T:
    """Call until it no longer raises a ``passing`` error; ``unless`` names kinds that do not pass.

    Waits between calls, with backoff and jitter, for as long as it takes: only cancellation ends it.
    """
    wait = FIRST
    while True:
        try:
            return await call()
        except passing as error:
            if isinstance(error, unless):
                raise
            log = structlog.get_logger("antiphon.reactors")
            log.warning("waiting", what=what, seconds=round(wait, 1), error=str(error))
        await asyncio.sleep(wait * (0.75 + rng() / 2))
        wait = min(wait * 2, MOST)
