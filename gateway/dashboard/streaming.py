"""Tells an open page that what it shows has changed. The page then asks for its newest self.

A page shows a state, not a list of messages, so nothing has to be replayed: each event's id is a
stamp of the state, a page that comes back with an old stamp is told at once, and however many changes
a slow client missed, it is told once. The live feed only makes it quick: without it the store is
looked at every two seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import structlog

from contracts.errors import FeedTrimmed, StoreError
from gateway.sse import EventStream
from store.live.port import Follower, Live

__all__ = ["OVER", "EventStream", "changes"]

log = structlog.get_logger(__name__)

OVER = "over"  # the stamp that ends a stream: the session is over, or what the page shows is gone
PAUSE = 2.0  # seconds between looks at the store when nothing is heard
QUIET = 0.15  # seconds in which several changes become one


async def changes(
    live: Live, feed: str, mentions: str, stamp: Callable[[], Awaitable[str]], seen: str | None
) -> AsyncIterator[bytes]:
    """Server-sent events ``changed``, one for each new ``stamp()``; ``seen`` is the client's last.

    Ends with the stamp OVER, after a last ``changed``: what the page then asks for says why it is over (sign
    in, it is gone), where a closed stream would only be opened again. ``mentions`` is text that an entry of
    the feed has when it is about this page.
    """
    follower = live.follow(feed)
    waiting: asyncio.Task[None] | None = None
    try:
        yield b"retry: 1000\n\n"
        while True:
            waiting = waiting or asyncio.create_task(_heard(follower, mentions.encode()))
            now = await _stamp(stamp)
            if now == OVER:
                yield b"event: changed\ndata: over\n\n"
                return
            if now is not None and now != seen:
                if seen is not None:
                    yield f"id: {now}\nevent: changed\ndata: {now}\n\n".encode()
                seen = now
            done, _ = await asyncio.wait({waiting}, timeout=PAUSE)
            if done:
                if waiting.exception() is not None:
                    with suppress(StoreError):
                        await follower.aclose()
                    follower = live.follow(feed)
                    await asyncio.sleep(PAUSE)
                waiting = None
                await asyncio.sleep(QUIET)
    finally:
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError, StoreError):
                await waiting
        await follower.aclose()


async def _stamp(stamp: Callable[[], Awaitable[str]]) -> str | None:
    try:
        return await stamp()
    except StoreError as error:
        log.info("the store did not answer an open page", error=str(error))
        return None


async def _heard(follower: Follower, mentions: bytes) -> None:
    """Return once the feed has said something about this page, or may have."""
    try:
        async for _, entry in follower:
            if mentions in entry:
                return
    except FeedTrimmed:
        return
