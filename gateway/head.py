"""HEAD: what GET would say of its answer, without the answer (RFC 9110 §9.3.2)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Head"]


class Head:
    """Handles HEAD as the GET of its address, and keeps the body to itself (ASGI 3).

    A stream has no end to wait for: it is over once its headers are said.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        over = False

        async def bare(message: Message) -> None:
            nonlocal over
            if over:
                return
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)
            if message["type"] == "http.response.start" and _streams(message):
                over = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def left() -> Message:
            return {"type": "http.disconnect"} if over else await receive()

        got = {**scope, "method": "GET"}
        try:
            await self._app(got, left, bare)
        finally:
            if "route" in got:  # by which the layers around count
                scope["route"] = got["route"]


def _streams(message: Message) -> bool:
    headers = message["headers"]
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)
