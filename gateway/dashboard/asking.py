"""Asking before doing: one form that says what an action will touch, as a page or in a dialog."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from gateway.dashboard.session import Session
from gateway.dashboard.views import Desk, back_to
from gateway.platform import Platform

__all__ = ["NEEDED_REASON", "REASON", "Ask", "Field", "once", "show"]

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Field:
    """Something to fill in. ``kind`` is text, select, json or hidden; ``options`` are (value, label)."""

    name: str
    label: str = ""
    kind: str = "text"
    value: str = ""
    help: str = ""
    required: bool = False
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked: ``touches`` are sentences, ``submit`` the verb on the button."""

    title: str
    touches: tuple[str, ...]
    submit: str
    fields: tuple[Field, ...] = ()
    danger: bool = False
    error: str = ""
    possible: bool = True


REASON = Field("reason", "Reason", help="Kept in the audit log with your key's name.")
NEEDED_REASON = Field("reason", "Reason", help="Kept in the audit log with your key's name.", required=True)


def show(request: Request, desk: Desk, session: Session, ask: Ask, default: str, code: int = 200) -> Response:
    """The question; ``default`` is where to go back to when the request does not say."""
    back = back_to(request.query_params.get("back"), default)
    template = "_confirm.html" if request.headers.get("x-ask") == "dialog" else "confirm.html"
    id = desk.platform.random_id()
    return desk.render(
        request, template, session, code=code, ask=ask, back=back, to=str(request.url.path), once=id
    )


def once(form: FormData, platform: Platform) -> str:
    """The id of a question, the same however often its form is sent: twice pushed is asked for once."""
    given = form.get("once")
    return given if isinstance(given, str) and _ID.fullmatch(given) else platform.random_id()
