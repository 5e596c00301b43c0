"""Server-sent events (WHATWG HTML §9.2): the live feed of a workspace, with replay.

A client that comes back with ``Last-Event-ID`` gets what it missed, as far as the feed still has it;
when it has not, it gets an event ``reset`` and should load its page anew. Each client has a small
buffer: one that reads too slowly is cut off, and loses nothing by it, since it can come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contracts.errors import FeedTrimmed, LiveUnavailable, StoreError
from gateway.problems import Problem
from store.live.port import Live

__all__ = ["EventStream", "Streams", "feed_events", "last_event_id"]

log = structlog.get_logger(__name__)

_BUFFER = 512  # events per client that were not sent yet
_HEARTBEAT = 15.0  # seconds without an event after which a comment is sent
_LOOK = 2.0  # seconds between looks whether the key still stands
_GOODBYE = 1.0  # seconds to tell a client that it is cut off
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies must not collect it
}

Wanted = Callable[[dict[str, Any]], bool]


class Streams:
    """Counts the streams that are open, because each holds a connection and a task; and ends them all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0
        self.ending = asyncio.Event()

    def end(self) -> None:
        """End every stream, for a server that stops: it waits for responses, and a stream has no end."""
        self.ending.set()

    def enter(self) -> None:
        """Raises Problem (503) when there are too many."""
        if self.open >= self._most:
            raise Problem("too-many-streams", f"{self._most} streams are open already.", retry_after=10)
        self.open += 1

    def leave(self) -> None:
        """One stream less."""
        self.open -= 1


def last_event_id(request: Request) -> str | None:
    """Where the client was: the header, or the query ``last_event_id`` for clients that can't set one."""
    given = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    if given is None or (given.isascii() and given.isprintable() and len(given) <= 100):
        return given
    raise Problem("bad-request", "Last-Event-ID is not an id that this stream gave.")


async def feed_events(live: Live, feed: str, after: str | None, wanted: Wanted) -> AsyncIterator[bytes]:
    """The entries of a feed as server-sent events; an id alone for those that are not ``wanted``.

    ``after`` is the last id that the client has seen; None begins with what is new.
    """
    place = after or "$"
    while True:
        try:
            async with live.follow(feed, place) as follower:
                yield b": connected\n\n"
                async for id, raw in follower:
                    entry = orjson.loads(raw)
                    if wanted(entry):
                        yield encode_event(str(entry.get("kind", "message")), raw, id)
                    else:
                        yield f"id: {id}\n".encode()  # dispatches nothing, and moves the client's place
            return
        except FeedTrimmed as error:
            yield encode_event("reset", orjson.dumps({"reason": str(error)}))
            place = "$"


def encode_event(kind: str, data: bytes, id: str | None = None) -> bytes:
    """One event in the wire format; ``data`` is JSON, so it has no line breaks of its own."""
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {kind}\ndata: ".encode() + data.replace(b"\n", b"") + b"\n\n"


class EventStream(Response):
    """Sends what ``source`` gives until the client leaves, the source ends, or the client is too slow.

    Where ``stands`` is given, it is asked now and then whether the client may still read, and else it ends.
    """

    def __init__(
        self,
        source: AsyncIterator[bytes],
        streams: Streams,
        *,
        stands: Callable[[], Awaitable[bool]] | None = None,
        buffer: int = _BUFFER,
        beat: float = _HEARTBEAT,
    ) -> None:
        super().__init__(None, headers=_HEADERS)
        self._source = source
        self._streams = streams
        self._stands = stands
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(buffer)
        self._beat = beat
        self._place = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole response (ASGI 3)."""
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        self._streams.enter()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._run(receive, send)
        finally:
            self._streams.leave()

    async def _run(self, receive: Receive, send: Send) -> None:
        pump = asyncio.create_task(self._pump(), name="sse pump")
        write = asyncio.create_task(self._write(send), name="sse write")
        gone = asyncio.create_task(_gone(receive), name="sse gone")
        ending = asyncio.create_task(self._streams.ending.wait(), name="sse ending")
        ends = [write, gone, ending]
        if self._stands is not None:
            ends.append(asyncio.create_task(_revoked(self._stands), name="sse revoked"))
        tasks = (pump, *ends)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if pump in done and pump.exception() is None and not pump.result() and gone not in done:
                # All of it is in the buffer; what is still to be sent is.
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if gone in done:
            return
        for result in results:
            if isinstance(result, Exception):
                log.warning("a stream ended early", error=str(result), kind=type(result).__name__)
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_GOODBYE):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self) -> bool:
        """From the source into the buffer; True when the client was too slow for it."""
        try:
            async for chunk in self._source:
                if chunk.startswith(b"id: ") and chunk.count(b"\n") == 1:
                    self._place = chunk
                    continue
                self._place = b""
                self._queue.put_nowait(chunk)
        except asyncio.QueueFull:
            log.info("a slow client was cut off", buffered=self._queue.qsize())
            return True
        except LiveUnavailable as error:
            log.warning("a stream ended: the live feed does not answer", error=str(error))
        finally:
            close = getattr(self._source, "aclose", None)
            if close is not None:
                await close()
        await self._queue.put(None)
        return False

    async def _write(self, send: Send) -> None:
        """From the buffer to the client, with a comment when there is nothing to say."""
        while True:
            try:
                async with asyncio.timeout(self._beat):
                    chunk = await self._queue.get()
            except TimeoutError:
                beat, self._place = self._place + b": keep-alive\n\n", b""
                await send({"type": "http.response.body", "body": beat, "more_body": True})
                continue
            if chunk is None:
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _revoked(stands: Callable[[], Awaitable[bool]]) -> None:
    """Return once the key stands no longer; while nobody can say, it does."""
    while True:
        await asyncio.sleep(_LOOK)
        try:
            if not await stands():
                log.info("a stream ended: its key was revoked")
                return
        except StoreError as error:
            log.info("the store did not say whether a stream's key still stands", error=str(error))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
