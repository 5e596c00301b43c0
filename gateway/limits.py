"""How much, and how often: bodies and requests."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import LiveUnavailable
from gateway.problems import Problem, problem_response
from store.live.port import Live

__all__ = ["BodyLimit", "RateLimit"]

log = structlog.get_logger(__name__)

_SHARE = 100  # a key asks the shared bucket once for this share of its burst
_MOST_KEYS = 10_000  # that are remembered
_PAUSE = 1.0  # seconds without limit after the live store did not answer


class BodyLimit:
    """Refuses a body that is too large, as soon as it is: nothing beyond the limit is kept.

    A declared length is refused before anything is read, a body that comes in chunks when the limit
    is passed. A body that no handler reads is never read at all.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI 3)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._most:
                await problem_response(self._problem(), scope["path"])(scope, receive, send)
                return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._most:
                    raise self._problem()
            return message

        await self._app(scope, counted, send)

    def _problem(self) -> Problem:
        # What follows of the body is not read, so the connection can't be used again.
        return Problem(
            "too-large",
            f"The body is larger than {self._most} bytes. Send large things by reference: URL and digest.",
            headers={"Connection": "close"},
            limit=self._most,
        )


class RateLimit:
    """A token bucket per key, shared by all gateways through the live store.

    Tokens are taken in shares, so that a request rarely costs a round trip; what a gateway does not
    use of a share within the time in which it would have been refilled is given up. Without the
    live store there is no limit: refusing everybody would be worse.
    """

    def __init__(
        self,
        live: Live,
        *,
        name: str,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._name = name
        self._share = max(1, int(burst) // _SHARE)
        self._rate = rate / self._share
        self._burst = max(1.0, burst / self._share)
        self._kept = self._share / rate
        self._clock = clock
        self._keys: dict[str, _Share] = {}
        self._open_until = -math.inf

    async def check(self, key: str) -> None:
        """Take one token of a key. Raises Problem (429) when there is none."""
        share = self._keys.get(key) or self._new(key)
        if self._take(share):
            return
        async with share.asking:  # one question for all who find it used up, and no share that nobody uses
            if self._take(share):
                return
            now = self._clock()
            try:
                wait = await self._live.allow(f"{self._name}/{key}", rate=self._rate, burst=self._burst)
            except LiveUnavailable as error:
                self._open_until = now + _PAUSE
                log.warning("rate limit is off: the live store does not answer", error=str(error))
                return
            if wait > 0:
                share.refused_until = now + wait
                raise _too_many(wait)
            share.left, share.until = self._share - 1, now + max(1.0, self._kept)

    def _take(self, share: _Share) -> bool:
        """Whether a token is at hand, or none is needed. Raises Problem while there is certainly none."""
        now = self._clock()
        if share.left > 0 and now < share.until:
            share.left -= 1
            return True
        if now < share.refused_until:
            raise _too_many(share.refused_until - now)
        return now < self._open_until

    def _new(self, key: str) -> _Share:
        if len(self._keys) >= _MOST_KEYS:
            self._keys = {key: share for key, share in self._keys.items() if share.asking.locked()}
        share = self._keys[key] = _Share()
        return share


class _Share:
    """What is at hand of one key's bucket."""

    __slots__ = ("asking", "left", "refused_until", "until")

    def __init__(self) -> None:
        self.asking = asyncio.Lock()
        self.left = 0
        self.until = self.refused_until = -math.inf


def _too_many(wait: float) -> Problem:
    return Problem(
        "too-many-requests", f"There were too many requests; try again in {wait:.1f} s.", retry_after=wait
    )
