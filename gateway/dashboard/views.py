"""How pages are made: templates, filters, and the guard in front of each page and action."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.bodies import parse_json
from gateway.dashboard.form import read_form
from gateway.dashboard.session import COOKIE, Session, read_session, same_origin
from gateway.dashboard.words import duration, status
from gateway.platform import Platform
from gateway.problems import Problem

__all__ = ["Desk", "action", "back_to", "environment", "page", "redirect"]

FLASH = "antiphon_flash"
THEME = "antiphon_theme"
_LONGEST_FLASH = 300  # characters; a cookie has room for 4 kB, and quoting makes it longer
# Bytes, and levels: each line is indented by as many, so that a small nest may be a large page.
_MOST_PRETTY, _DEEPEST_PRETTY = 100_000, 64
_HERE = Path(__file__).parent

Handler = Callable[[Request, "Desk", Session], Awaitable[Response]]


@dataclass(frozen=True)
class Desk:
    """What every page stands on."""

    platform: Platform
    templates: Environment
    pepper: bytes

    @classmethod
    def of(cls, request: Request) -> Desk:
        """The desk of the app that this request came to."""
        desk: Desk = request.app.state.desk
        return desk

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.platform.clock()

    async def session(self, request: Request) -> Session | None:
        """Whose request this is; None when nobody is signed in. Raises StoreUnavailable."""
        cookie, now = request.cookies.get(COOKIE), self.now()
        if not cookie:
            return None
        return await self.platform.database.read(
            lambda conn: read_session(conn, cookie, now=now, pepper=self.pepper)
        )

    def render(
        self, request: Request, template: str, session: Session | None, code: int = 200, **values: Any
    ) -> HTMLResponse:
        """A page. What was flashed by the action before is shown once."""
        flash = request.cookies.get(FLASH)
        tone, _, text = (flash or "").partition("|")
        html = self.templates.get_template(template).render(
            session=session,
            app_name=self.platform.app_name,
            path=request.scope["path"],
            here=_here(request),
            theme=request.cookies.get(THEME) if request.cookies.get(THEME) in ("light", "dark") else "",
            flash=(tone, unquote(text)[:500]) if flash else None,
            now=self.now(),
            can=session.may if session is not None else lambda ability: False,
            **values,
        )
        response = HTMLResponse(html, status_code=code)
        if flash and request.headers.get("hx-request") is None:
            response.delete_cookie(FLASH, path="/ui")
        return response


def environment(clock: Callable[[], float]) -> Environment:
    """The templates: everything is escaped, and a name that is not given is an error."""
    env = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals["status"] = status
    env.filters["duration"] = duration
    env.filters["pretty"] = _pretty
    env.filters["iso"] = _iso
    env.filters["clock"] = _clock
    env.filters["ago"] = lambda at: _ago(clock() - float(at))
    env.filters["quoted"] = lambda text: quote(str(text), safe="")
    env.filters["grouped"] = lambda number: f"{number:,}".replace(",", " ")
    env.filters["svg_number"] = lambda number: f"{float(number):.3f}".rstrip("0").rstrip(".")
    return env


def page(ability: str = "read operations") -> Callable[[Handler], Callable[[Request], Awaitable[Response]]]:
    """A page for whoever is signed in and has the ability; others sign in first, or get 403."""

    def guard(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        @wraps(handler)
        async def guarded(request: Request) -> Response:
            desk = Desk.of(request)
            session = await desk.session(request)
            if session is None:
                return _sign_in(request)
            if not session.may(ability):
                raise HTTPException(403, f"Your key's role, {session.principal.role}, may not {ability}.")
            return await handler(request, desk, session)

        return guarded

    return guard


def action(ability: str) -> Callable[[Handler], Callable[[Request], Awaitable[Response]]]:
    """A POST by whoever is signed in, has the ability, and sent it from a page of ours."""

    def guard(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        @wraps(handler)
        async def guarded(request: Request, desk: Desk, session: Session) -> Response:
            form = await read_form(request)
            if not same_origin(request) or not session.owns(form.get("csrf")):
                raise HTTPException(403, "This form was not sent from an open page. Reload it and try again.")
            return await handler(request, desk, session)

        return page(ability)(guarded)

    return guard


def redirect(to: str, tone: str = "", text: str = "") -> Response:
    """Go to another page after an action, with a sentence about what was done."""
    response = RedirectResponse(to, status_code=303)
    if text:
        response.set_cookie(
            FLASH,
            f"{tone}|{quote(text[:_LONGEST_FLASH])}",
            max_age=60,
            path="/ui",
            httponly=True,
            samesite="lax",
        )
    return response


def back_to(value: object, default: str) -> str:
    """``value`` when it is a page of ours, else ``default``: never another site."""
    text = value if isinstance(value, str) else ""
    safe = text.startswith("/ui/") and "\\" not in text and "//" not in text.partition("?")[0]
    return text if safe and text.isprintable() else default


def _here(request: Request) -> str:
    """The address that was asked for, quoted: an id in it may hold anything."""
    query = request.scope["query_string"].decode("ascii", "replace")
    return quote(request.scope["path"], safe="/") + (f"?{query}" if query else "")


def _sign_in(request: Request) -> Response:
    here = _here(request)
    to = f"/ui/login?next={quote(here, safe='/')}" if request.method == "GET" else "/ui/login"
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": "/ui/login"})
    return RedirectResponse(to, status_code=303)


def _pretty(value: Any) -> str:
    """JSON to be read; a message's bytes that are none, or too many or too deep for that, as they are."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
        if len(value) <= _MOST_PRETTY:
            with suppress(Problem):
                text = json.dumps(parse_json(value, _DEEPEST_PRETTY), indent=2, ensure_ascii=False)
    else:
        text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair can't be sent


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{int(at % 1 * 1000):03d} UTC"


def _ago(seconds: float) -> str:
    if seconds < -1:
        return f"in {duration(-seconds)}"
    if seconds < 1:
        return "now"
    if seconds < 60:
        return f"{int(seconds)} s ago"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {name} ago"
    return ""
