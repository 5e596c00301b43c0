"""Measures each request, and answers what nobody else did: a pure ASGI layer, because it is on every path."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Latency", "Observe"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class Latency:
    """The histogram of request latencies, by method, route and status class."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._histogram = Histogram(
            "antiphon_http_request_duration_seconds",
            "Time until the response was sent; streams are left out",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """One response."""
        key = (method, route, status // 100)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._histogram.labels(method, route, f"{status // 100}xx")
        child.observe(seconds)


class Observe:
    """Adds safe headers to each response, and its latency to the histogram."""

    def __init__(
        self, app: ASGIApp, *, latency: Latency, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._latency = latency
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI 3)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        status = 500
        stream = False

        async def noted(message: Message) -> None:
            nonlocal status, stream
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                names = {name.lower() for name, _ in headers}
                stream = any(n == b"content-type" and v.startswith(b"text/event-stream") for n, v in headers)
                headers += [header for header in _HEADERS if header[0] not in names]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            if not stream:
                # The route's template, never the path: a path per run would be a series per run.
                route = getattr(scope.get("route"), "path", None) or "(none)"
                self._latency.observe(_method(scope["method"]), route, status, self._clock() - began)


def _method(method: str) -> str:
    known = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
    return method if method in known else "OTHER"
