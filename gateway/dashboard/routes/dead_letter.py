"""One dead letter: the message, why it died, and what to do: redrive, redrive edited, discard."""

from __future__ import annotations

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.errors import ContractError, LetterNotFound, LetterSettled
from gateway.bodies import parse_json
from gateway.dashboard.asking import NEEDED_REASON, REASON, Ask, Field, show
from gateway.dashboard.routes.dead_letters import letters_of
from gateway.dashboard.session import Session
from gateway.dashboard.views import Desk, action, back_to, page, redirect
from gateway.problems import Problem
from gateway.queries.dead_letters import DeadLetter, get_dead_letter

__all__ = ["ROUTES"]

_VERBS = ("redrive", "edit", "discard")


async def _find(desk: Desk, session: Session, id: str) -> DeadLetter:
    workspace = session.principal.workspace
    letter = None
    if "\0" not in id:
        letter = await desk.platform.database.read(lambda conn: get_dead_letter(conn, workspace, id))
    if letter is None:
        raise HTTPException(404, f"This workspace has no dead letter {id[:80]}.")
    return letter


@page()
async def show_letter(request: Request, desk: Desk, session: Session) -> Response:
    """The page."""
    letter = await _find(desk, session, request.path_params["id"])
    return desk.render(request, "dead_letter.html", session, letter=letter)


def _question(letter: DeadLetter, verb: str, values: dict[str, str], error: str = "") -> Ask:
    dead = letter.status == "dead"
    reason = Field("reason", "Reason", value=values.get("reason", ""), help=REASON.help)
    because = f"It failed with {letter.error_type}: {letter.error_message[:200]}"
    if verb == "discard":
        text = (
            f"{letter.reactor} will never handle this {letter.type}. It stays to be seen, with your reason."
        )
        needed = Field("reason", "Reason", value=reason.value, help=NEEDED_REASON.help, required=True)
        return Ask("Discard this dead letter?", (text, because), "Discard", (needed,), True, error, dead)
    text = (
        f"Sends this {letter.type} to {letter.reactor} again, and to nobody else; attempts are counted anew."
    )
    if verb == "redrive":
        return Ask("Redrive this dead letter?", (text, because), "Redrive", (reason,), False, error, dead)
    data = values.get("data") or _text(letter.body)
    hint = f"Checked against {letter.type} before it is sent. The id stays the same."
    fields = (Field("data", "Payload (JSON)", kind="json", value=data, help=hint), reason)
    return Ask("Edit and redrive", (text, because), "Redrive edited", fields, False, error, dead)


def _text(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "replace")


def _verb(request: Request) -> str:
    verb = str(request.path_params["verb"])
    if verb not in _VERBS:
        raise HTTPException(404, f"There is nothing called {verb[:40]!r} to do with a dead letter.")
    return verb


@page("settle dead letters")
async def ask(request: Request, desk: Desk, session: Session) -> Response:
    """The question."""
    verb = _verb(request)
    letter = await _find(desk, session, request.path_params["id"])
    return show(request, desk, session, _question(letter, verb, {}), f"/ui/dead-letters/{letter.id}")


@action("settle dead letters")
async def do(request: Request, desk: Desk, session: Session) -> Response:
    """Does it. The reactors' room writes it down."""
    verb, who = _verb(request), session.principal
    letter = await _find(desk, session, request.path_params["id"])
    form = await request.form()
    values = {name: str(form.get(name) or "").strip() for name in ("reason", "data")}
    back, letters = back_to(form.get("back"), f"/ui/dead-letters/{letter.id}"), letters_of(desk)

    def again(error: str) -> Response:
        return show(request, desk, session, _question(letter, verb, values, error), back, code=422)

    try:
        if verb == "discard":
            if not values["reason"]:
                return again("Say why: whoever finds this later will want to know.")
            reason = values["reason"]
            if not await letters.discard(who.workspace, letter.id, actor=who.actor, reason=reason):
                return redirect(back, "bad", "Not done: it was redriven or discarded before.")
            return redirect(back, "ok", f"Discarded the {letter.type} for {letter.reactor}.")
        depth = desk.platform.max_depth
        data: Any = parse_json(values["data"].encode(), depth) if verb == "edit" else None
        await letters.redrive(who.workspace, letter.id, actor=who.actor, reason=values["reason"], data=data)
    except Problem as problem:
        return again(f"The payload is not JSON that can be sent: {problem}")
    except ContractError as error:
        return again(str(error))
    except (LetterNotFound, LetterSettled) as error:
        return redirect(back, "bad", f"Not done: {error}")
    return redirect(back, "ok", f"Sent the {letter.type} to {letter.reactor} again.")


ROUTES = [
    Route("/dead-letters/{id}", show_letter),
    Route("/dead-letters/{id}/{verb}", ask, methods=["GET"]),
    Route("/dead-letters/{id}/{verb}", do, methods=["POST"]),
]
