"""Quarantine: what was refused and why; release it to its queue, or discard it."""

from __future__ import annotations

from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import QuarantineError
from contracts.signing import KID, ORIGIN_KID
from gateway.dashboard.asking import NEEDED_REASON, Ask, show
from gateway.dashboard.session import Session
from gateway.dashboard.views import Desk, action, back_to, page, redirect
from gateway.queries.dead_letters import Quarantined, get_quarantined, list_quarantine
from gateway.queries.page import BadCursor
from reactors.quarantine_desk import QuarantineDesk

__all__ = ["ROUTES", "workspaces_of"]

STATUSES = ("held", "releasing", "released", "discarded")
HERE = "/ui/quarantine"


def workspaces_of(desk: Desk, session: Session) -> list[str]:
    """Whose messages are seen: what named no workspace is the installation's own to look after."""
    own = session.principal.workspace
    return [own, ""] if own == desk.platform.workspace else [own]


@page()
async def listed(request: Request, desk: Desk, session: Session) -> Response:
    """What was refused, the newest first."""
    visible = workspaces_of(desk, session)
    status = request.query_params.get("status", "held")
    status = status if status in STATUSES else "held"
    cursor = request.query_params.get("cursor")
    try:
        found = await desk.platform.database.read(
            lambda conn: list_quarantine(
                conn, visible[0], unclaimed="" in visible, status=status, cursor=cursor, most=50
            )
        )
    except BadCursor as error:
        raise HTTPException(400, str(error)) from error
    return desk.render(
        request, "quarantine.html", session, found=found, status_name=status, statuses=STATUSES, kid_of=_kid
    )


async def _find(request: Request, desk: Desk, session: Session) -> Quarantined:
    visible, id = workspaces_of(desk, session), str(request.path_params["id"])
    found = None
    if id.isprintable():
        found = await desk.platform.database.read(
            lambda conn: get_quarantined(conn, visible[0], id, unclaimed="" in visible)
        )
    if found is None:
        raise HTTPException(404, f"This workspace has no message {id[:80]} in quarantine.")
    return found


@page()
async def show_one(request: Request, desk: Desk, session: Session) -> Response:
    """One message, as it came."""
    held = await _find(request, desk, session)
    return desk.render(request, "quarantined.html", session, held=held, kid=_kid(held), open=_open(held))


@page("settle dead letters")
async def ask(request: Request, desk: Desk, session: Session) -> Response:
    """Says what will happen."""
    held = await _find(request, desk, session)
    return show(request, desk, session, _question(_verb(request), held), f"{HERE}/{held.id}")


@action("settle dead letters")
async def do(request: Request, desk: Desk, session: Session) -> Response:
    """Does it. The reactors' room writes it down."""
    verb, who, held = _verb(request), session.principal, await _find(request, desk, session)
    form = await request.form()
    reason, back = str(form.get("reason") or "").strip(), back_to(form.get("back"), f"{HERE}/{held.id}")
    if not reason:
        asked = replace(_question(verb, held), error="Say why: whoever finds this later will want to know.")
        return show(request, desk, session, asked, back, code=422)
    platform, visible = desk.platform, workspaces_of(desk, session)
    work = QuarantineDesk(platform.database, platform.bus)
    try:
        if verb == "release":
            await work.release(visible, held.id, actor=who.actor, reason=reason)
            return redirect(back, "ok", f"Put back on {held.queue}.")
        await work.discard(visible, held.id, actor=who.actor, reason=reason)
    except QuarantineError as error:
        return redirect(back, "bad", f"Not done: {error}")
    return redirect(back, "ok", "Discarded.")


def _question(verb: str, held: Quarantined) -> Ask:
    because = f"It was refused as {held.reason}: {held.detail[:300]}"
    if verb == "release":
        text = (
            f"Puts it back on {held.queue}, signed by this gateway: you vouch for it. "
            "If it is off contract it will be refused again."
        )
        return Ask(
            "Release this message?", (text, because), "Release", (NEEDED_REASON,), possible=_open(held)
        )
    text = "Nobody will ever handle it. It stays to be seen, with your reason in the audit log."
    fields = (NEEDED_REASON,)
    return Ask("Discard this message?", (text, because), "Discard", fields, True, possible=_open(held))


def _open(held: Quarantined) -> bool:
    return held.status in ("held", "releasing")


def _kid(held: Quarantined) -> str:
    """Whose signature it carries, good or not."""
    return str(held.headers.get(ORIGIN_KID) or held.headers.get(KID) or "nobody")


def _verb(request: Request) -> str:
    verb = str(request.path_params["verb"])
    if verb not in ("release", "discard"):
        raise HTTPException(404, f"There is nothing called {verb[:40]!r} to do with a message in quarantine.")
    return verb


ROUTES = [
    Route("/quarantine", listed),
    Route("/quarantine/{id}", show_one),
    Route("/quarantine/{id}/{verb}", ask, methods=["GET"]),
    Route("/quarantine/{id}/{verb}", do, methods=["POST"]),
]
