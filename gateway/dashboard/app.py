"""The dashboard as an application of its own under ``/ui``, with its own headers and error pages."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import BusError, StoreError
from gateway.dashboard.routes import PAGES
from gateway.dashboard.views import Desk, environment
from gateway.gateway import Gateway
from gateway.limits import RateLimit
from gateway.platform import Platform
from gateway.problems import Problem

__all__ = ["mount"]

_SIGN_INS_PER_SECOND = 2.0  # from one address
_SIGN_INS_AT_ONCE = 40.0

# No 'unsafe-inline' and no nonce: pages have no script or style of their own, only files of ours.
_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def mount(app: FastAPI, platform: Platform, *, pepper: bytes = b"") -> None:
    """Put the dashboard under ``/ui`` of ``app``, a gateway, and a redirect to it at ``/``.

    ``pepper`` is mixed into the signature of sessions and must be the same on every gateway.
    """
    dashboard = Starlette(
        routes=[
            Route("/", _home),
            *PAGES,
            Mount("/static", _Static(directory=Path(__file__).parent / "static")),
        ],
        exception_handlers={
            HTTPException: _refused,
            StoreError: _unavailable,
            BusError: _unavailable,
            Problem: _problem,
            ClientDisconnect: _gone,
            Exception: _broken,
        },
    )
    dashboard.state.desk = Desk(platform, environment(platform.clock), pepper)
    # Keys are too long to be guessed; this keeps the trying from costing us.
    dashboard.state.sign_ins = RateLimit(
        platform.live, name="sign-ins", rate=_SIGN_INS_PER_SECOND, burst=_SIGN_INS_AT_ONCE
    )
    # Those of the API: one limit for both, and both end before the server stops.
    gateway: Gateway = app.state.gateway
    dashboard.state.streams = gateway.streams
    # Around all of it: what answers for a defect of ours stands outside an application's own middleware.
    app.mount("/ui", _Headers(dashboard))
    app.router.routes.insert(0, Route("/", _home, include_in_schema=False))


async def _home(request: Request) -> Response:
    return RedirectResponse("/ui/overview", status_code=307)


class _Static(StaticFiles):
    """Files of ours; a browser asks each time whether they changed, so an upgrade shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


class _Headers:
    """Adds the security headers to each response, and keeps pages out of caches."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                names = {name for name, _ in headers}
                headers += [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                if b"cache-control" not in names:
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


async def _refused(request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    titles = {403: "Your key may not do this", 404: "There is nothing here", 410: "It is no longer kept"}
    return await _page(request, code, titles.get(code, "That did not work"), detail)


async def _problem(request: Request, error: Exception) -> Response:
    status, headers = (error.status, error.headers) if isinstance(error, Problem) else (500, {})
    page = await _page(request, status, "That did not work", str(error))
    page.headers.update(headers)
    return page


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads this


async def _unavailable(request: Request, error: Exception) -> Response:
    what = "store" if isinstance(error, StoreError) else "bus"
    text = f"The {what} did not answer: {error}. Nothing is shown rather than something old; try again."
    if request.method == "POST":
        text = (
            f"The {what} did not answer: {error}. It is not certain whether this was done. Look first, or "
            "send the same form again: it asks once, however often it is sent."
        )
    return await _page(request, 503, f"The {what} can't be reached", text, known=False)


async def _broken(request: Request, error: Exception) -> Response:
    return await _page(
        request, 500, "Something went wrong on our side", "It is in the gateway's log.", known=False
    )


async def _page(request: Request, code: int, title: str, text: str, *, known: bool = True) -> Response:
    desk = Desk.of(request)
    session = await desk.session(request) if known else None
    return desk.render(request, "error.html", session, code=code, code_shown=code, title=title, text=text)
