"""Dead letters in groups: one reactor and one kind of error each; redrive or discard a group."""

from __future__ import annotations

import math
from dataclasses import replace

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.dashboard.asking import NEEDED_REASON, REASON, Ask, Field, show
from gateway.dashboard.session import Session
from gateway.dashboard.views import Desk, action, back_to, page, redirect
from gateway.queries.dead_letters import DeadLetterSummary, list_dead_letters, list_groups, list_quarantine
from gateway.queries.page import BadCursor
from reactors.dead_letters import DeadLetters

__all__ = ["ROUTES", "letters_of"]

STATUSES = ("dead", "redriven", "discarded")
MOST_AT_ONCE = 1_000
MOST_GROUPS = 200


def letters_of(desk: Desk) -> DeadLetters:
    """What operators do with dead letters."""
    return DeadLetters(desk.platform.database, desk.platform.bus, desk.platform.registry)


@page()
async def groups(request: Request, desk: Desk, session: Session) -> Response:
    """The groups, and what is in quarantine."""
    workspace = session.principal.workspace
    status = request.query_params.get("status", "dead")
    status = status if status in STATUSES else "dead"
    reactor = request.query_params.get("reactor", "").replace("\0", "") or None
    found, held = await desk.platform.database.read(
        lambda conn: (
            list_groups(conn, workspace, status=status, reactor=reactor, most=MOST_GROUPS),
            list_quarantine(
                conn, workspace, unclaimed=workspace == desk.platform.workspace, most=20, bodies=True
            ).items,
        )
    )
    template = "_dead_letters.html" if request.headers.get("hx-request") else "dead_letters.html"
    return desk.render(
        request,
        template,
        session,
        groups=found,
        most=MOST_GROUPS,
        status_name=status,
        statuses=STATUSES,
        reactor=reactor,
        quarantined=held,
    )


@page()
async def group(request: Request, desk: Desk, session: Session) -> Response:
    """The letters of one group."""
    workspace, key = session.principal.workspace, request.query_params.get("key", "").replace("\0", "")
    status = request.query_params.get("status", "dead")
    status = status if status in STATUSES else "dead"
    cursor = request.query_params.get("cursor")
    try:
        found = await desk.platform.database.read(
            lambda conn: list_dead_letters(
                conn, workspace, status=status, group_key=key, cursor=cursor, most=50
            )
        )
    except BadCursor as error:
        raise HTTPException(400, str(error)) from error
    return desk.render(request, "dead_group.html", session, key=key, found=found, status_name=status)


@page("settle dead letters")
async def ask_group(request: Request, desk: Desk, session: Session) -> Response:
    """Says how many letters, and of what."""
    verb, key = _verb(request), request.query_params.get("key", "").replace("\0", "")
    letters = await _of_group(desk, session, key)
    return show(request, desk, session, _question(verb, key, letters), "/ui/dead-letters")


async def _of_group(desk: Desk, session: Session, key: str) -> list[DeadLetterSummary]:
    workspace = session.principal.workspace
    found = await desk.platform.database.read(
        lambda conn: list_dead_letters(conn, workspace, group_key=key, most=MOST_AT_ONCE)
    )
    return list(found.items)


def _question(verb: str, key: str, letters: list[DeadLetterSummary]) -> Ask:
    count = len(letters)
    # What dies while the question is open was not asked about.
    shown = Field(
        "until", kind="hidden", value=repr(max((letter.dead_at for letter in letters), default=0.0))
    )
    more = (f"Only the newest {count} are touched; ask again for the rest.",) if count >= MOST_AT_ONCE else ()
    word = "1 dead letter" if count == 1 else f"{count} dead letters"
    who = letters[0].reactor if letters else "nobody"
    types = ", ".join(sorted({letter.type for letter in letters}))
    if verb == "redrive":
        text = f"Sends them to {who} again, and to nobody else; attempts count anew. What is done stays done."
        fields = (REASON, Field("key", kind="hidden", value=key), shown)
        touches = (text, f"{types}: {key}", *more)
        return Ask(f"Redrive {word}?", touches, f"Redrive {word}", fields, possible=count > 0)
    text = f"{who} will never handle them. They stay to be seen, with your reason."
    fields = (NEEDED_REASON, Field("key", kind="hidden", value=key), shown)
    touches = (text, f"{types}: {key}", *more)
    return Ask(f"Discard {word}?", touches, f"Discard {word}", fields, True, possible=count > 0)


@action("settle dead letters")
async def do_group(request: Request, desk: Desk, session: Session) -> Response:
    """Does it with the letters that were shown. The reactors' room writes it down."""
    verb, who = _verb(request), session.principal
    form = await request.form()
    until = _until(form.get("until"))
    key, reason = str(form.get("key") or ""), str(form.get("reason") or "").strip()
    back = back_to(form.get("back"), "/ui/dead-letters")
    letters = letters_of(desk)
    if verb == "redrive":
        count = await letters.redrive_group(who.workspace, key, actor=who.actor, reason=reason, until=until)
        return redirect(back, "ok", f"{count} dead letter{'s' * (count != 1)} sent again.")
    found = [letter for letter in await _of_group(desk, session, key) if letter.dead_at <= until]
    if not reason:
        question = _question(verb, key, found)
        asked = replace(question, error="Say why.")
        return show(request, desk, session, asked, "/ui/dead-letters", code=422)
    count = await letters.discard(
        who.workspace, *(letter.id for letter in found), actor=who.actor, reason=reason
    )
    return redirect(back, "ok", f"{count} dead letter{'s' * (count != 1)} discarded.")


def _until(given: object) -> float:
    """When the newest letter died that was shown; of a form that does not say, all are meant."""
    try:
        return float(str(given)) if given else math.inf
    except ValueError:
        raise HTTPException(400, "This form does not say which letters it showed; open it again.") from None


def _verb(request: Request) -> str:
    verb = str(request.path_params["verb"])
    if verb not in ("redrive", "discard"):
        raise HTTPException(404, f"There is nothing called {verb[:40]!r} to do with dead letters.")
    return verb


ROUTES = [
    Route("/dead-letters", groups),
    Route("/dead-letters/group", group),
    Route("/dead-letters/group/{verb}", ask_group, methods=["GET"]),
    Route("/dead-letters/group/{verb}", do_group, methods=["POST"]),
]
