"""How much, and how often: bodies and requests."""

from __future__ import annotations

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
        self._tokens: dict[str, tuple[int, float]] = {}
        self._open_until = -math.inf

    async def check(self, key: str) -> None:
        """Take one token of a key. Raises Problem (429) when there is none."""
        now = self._clock()
        left, until = self._tokens.get(key, (0, 0.0))
        if left > 0 and now < until:
            self._tokens[key] = (left - 1, until)
            return
        if now < self._open_until:
            return
        try:
            wait = await self._live.allow(f"{self._name}/{key}", rate=self._rate, burst=self._burst)
        except LiveUnavailable as error:
            self._open_until = now + _PAUSE
            log.warning("rate limit is off: the live store does not answer", error=str(error))
            return
        if wait > 0:
            raise Problem(
                "too-many-requests",
                f"There were too many requests; try again in {wait:.1f} s.",
                retry_after=wait,
            )
        if len(self._tokens) > 10_000:
            self._tokens.clear()
        self._tokens[key] = (self._share - 1, now + max(1.0, self._kept))
