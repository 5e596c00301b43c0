"""Quarantine: messages that could not be read, verified or validated; release and discard."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from contracts.envelope import timestamp
from contracts.errors import NotQuarantined, QuarantineSettled
from contracts.signing import KID, ORIGIN_KID
from gateway.auth import Principal, may
from gateway.bodies import read_object
from gateway.docs import answers, json_body
from gateway.gateway import platform_of
from gateway.messages import shown_body
from gateway.platform import Platform
from gateway.problems import Problem
from gateway.queries.dead_letters import Quarantined, get_quarantined, list_quarantine
from gateway.responses import Json
from reactors.quarantine_desk import QuarantineDesk

__all__ = ["router"]

router = APIRouter(tags=["dead letters"])

Viewer = Annotated[Principal, Depends(may("read operations"))]
Operator = Annotated[Principal, Depends(may("settle dead letters"))]

_WHY: dict[str, Any] = {
    "type": "object",
    "required": ["reason"],
    "properties": {"reason": {"type": "string", "description": "Why; it is kept in the audit log"}},
    "additionalProperties": False,
}
_BAD_BODY = ("malformed-json", "too-large", "unsupported-media-type", "invalid-parameter")


class QuarantinedView(BaseModel):
    """A message in quarantine; lists leave out the message."""

    id: str
    queue: str
    reason: str
    detail: str
    message_id: str | None
    status: str
    kid: str | None = None
    received_at: str
    message: dict[str, Any] | None = None
    links: dict[str, str]


class Settled(BaseModel):
    """What became of a message in quarantine."""

    id: str
    status: str


class QuarantineList(BaseModel):
    """A page of messages in quarantine."""

    items: list[QuarantinedView]
    next: str | None


@router.get(
    "/quarantine",
    summary="List quarantine",
    responses=answers({200: (QuarantineList, "A page, newest first")}, ("bad-cursor", "invalid-parameter")),
)
async def list_all(
    request: Request,
    who: Viewer,
    status: Annotated[str, Query(pattern="^(held|releasing|released|discarded|all)$")] = "held",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """What was put on a queue and fits no contract, with the reason. It was not handled, and consumers
    went on. What named no workspace is shown to keys of the installation's own one."""
    platform = platform_of(request)
    page = await platform.database.read(
        lambda conn: list_quarantine(
            conn,
            who.workspace,
            unclaimed=_own(platform, who),
            status=None if status == "all" else status,
            cursor=cursor,
            most=limit,
        )
    )
    return Json({"items": [_view(one) for one in page.items], "next": page.next})


@router.get(
    "/quarantine/{message_id}",
    summary="Show a message in quarantine",
    responses=answers({200: (QuarantinedView, "The message")}, ("quarantine-not-found",)),
)
async def show(request: Request, message_id: str, who: Viewer) -> Response:
    """One message, as it came."""
    platform = platform_of(request)
    found = None
    if message_id.isprintable():
        found = await platform.database.read(
            lambda conn: get_quarantined(conn, who.workspace, message_id, unclaimed=_own(platform, who))
        )
    if found is None:
        raise Problem(
            "quarantine-not-found", f"This workspace has no message {message_id[:80]!r} in quarantine."
        )
    message = {"content_type": found.content_type, "headers": found.headers, **shown_body(found.body)}
    return Json({**_view(found), "message": message})


@router.post(
    "/quarantine/{message_id}/release",
    summary="Release a message from quarantine",
    status_code=202,
    responses=answers(
        {202: (Settled, "Its queue has it again")},
        ("quarantine-not-found", "already-settled", "bus-unavailable"),
        _BAD_BODY,
    ),
    openapi_extra=json_body(
        "Why", schema=_WHY, examples={"seen to": {"reason": "its key was in the wrong ring"}}
    ),
)
async def release(request: Request, message_id: str, who: Operator) -> Response:
    """Puts the message back on the queue that it was taken from, signed by the gateway: whoever releases it
    vouches for it. What is wrong in it stays wrong: off contract it is refused again."""
    body = await read_object(request, {"reason": str}, required=("reason",))
    platform = platform_of(request)
    desk = QuarantineDesk(platform.database, platform.bus)
    try:
        await desk.release(_visible(platform, who), message_id, actor=who.actor, reason=body["reason"])
    except (NotQuarantined, QuarantineSettled) as error:
        raise _problem(error) from error
    return Json({"id": message_id, "status": "released"}, status_code=202)


@router.post(
    "/quarantine/{message_id}/discard",
    summary="Discard a message in quarantine",
    responses=answers(
        {200: (Settled, "It is given up, and stays to be seen")},
        ("quarantine-not-found", "already-settled"),
        _BAD_BODY,
    ),
    openapi_extra=json_body("Why", schema=_WHY, examples={"forged": {"reason": "nobody of ours sent it"}}),
)
async def discard(request: Request, message_id: str, who: Operator) -> Response:
    """Gives the message up for good. A reason is required."""
    body = await read_object(request, {"reason": str}, required=("reason",))
    platform = platform_of(request)
    desk = QuarantineDesk(platform.database, None)
    try:
        await desk.discard(_visible(platform, who), message_id, actor=who.actor, reason=body["reason"])
    except (NotQuarantined, QuarantineSettled) as error:
        raise _problem(error) from error
    return Json({"id": message_id, "status": "discarded"})


def _problem(error: Exception) -> Problem:
    kind = "already-settled" if isinstance(error, QuarantineSettled) else "quarantine-not-found"
    return Problem(kind, f"{error}."[:300])


def _visible(platform: Platform, who: Principal) -> list[str]:
    return [who.workspace, ""] if _own(platform, who) else [who.workspace]


def _own(platform: Platform, who: Principal) -> bool:
    return who.workspace == platform.workspace


def _view(one: Quarantined) -> dict[str, Any]:
    here = f"/quarantine/{one.id}"
    return {
        **{name: getattr(one, name) for name in ("id", "queue", "reason", "detail", "message_id", "status")},
        "kid": one.headers.get(ORIGIN_KID) or one.headers.get(KID),
        "received_at": timestamp(one.received_at),
        "links": {"self": here, "release": f"{here}/release", "discard": f"{here}/discard"},
    }
