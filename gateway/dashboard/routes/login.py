"""Sign in with an API key, and out again."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.dashboard.form import read_form
from gateway.dashboard.session import COOKIE, LIFETIME, Session, open_session, same_origin
from gateway.dashboard.views import Desk, action, back_to
from gateway.limits import BodyLimit

__all__ = ["ROUTES"]

_LONGEST = 512  # characters of a key that are looked at
_MOST_FORM = 8_192  # bytes; this form is read before it is known who sends it


async def show(request: Request) -> Response:
    """The form; whoever is signed in goes on."""
    desk = Desk.of(request)
    to = back_to(request.query_params.get("next"), "/ui/overview")
    if await desk.session(request) is not None:
        return RedirectResponse(to, status_code=303)
    return desk.render(request, "login.html", None, next=to, wrong=False, dev_key=desk.platform.dev_key)


async def sign_in(request: Request) -> Response:
    """Exchanges the key for a session."""
    desk = Desk.of(request)
    if not same_origin(request):
        raise HTTPException(403, "This form was not sent from the sign-in page. Open it and try again.")
    await request.app.state.sign_ins.check(request.client.host if request.client else "")
    form = await read_form(request)
    secret, to = form.get("key"), back_to(form.get("next"), "/ui/overview")
    cookie, now = None, desk.now()
    if isinstance(secret, str) and 0 < len(secret.strip()) <= _LONGEST:
        given = secret.strip()
        cookie = await desk.platform.database.read(
            lambda conn: open_session(conn, given, now=now, pepper=desk.pepper)
        )
    if cookie is None:
        return desk.render(
            request, "login.html", None, code=401, next=to, wrong=True, dev_key=desk.platform.dev_key
        )
    response = RedirectResponse(to, status_code=303)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(LIFETIME),
        path="/ui",
        httponly=True,
        samesite="lax",
        secure=_over_https(request),
    )
    return response


def _over_https(request: Request) -> bool:
    """Whether the browser speaks HTTPS. Any proxy is believed: all that comes of it is a cookie for HTTPS."""
    told = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return "https" in (request.url.scheme, told)


@action("read runs")
async def sign_out(request: Request, desk: Desk, session: Session) -> Response:
    """Forgets the cookie."""
    response = RedirectResponse("/ui/login", status_code=303)
    response.delete_cookie(COOKIE, path="/ui")
    return response


ROUTES = [
    Route("/login", show, methods=["GET"]),
    Route("/login", sign_in, methods=["POST"], middleware=[Middleware(BodyLimit, most=_MOST_FORM)]),
    Route("/logout", sign_out, methods=["POST"]),
]
