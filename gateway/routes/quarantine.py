"""Quarantine: messages that could not be read, verified or validated."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from contracts.envelope import timestamp
from gateway.auth import Principal, may
from gateway.docs import answers
from gateway.gateway import platform_of
from gateway.messages import shown_body
from gateway.platform import Platform
from gateway.problems import Problem
from gateway.queries.dead_letters import Quarantined, get_quarantined, list_quarantine
from gateway.responses import Json

__all__ = ["router"]

router = APIRouter(tags=["dead letters"])

Viewer = Annotated[Principal, Depends(may("read operations"))]


class QuarantinedView(BaseModel):
    """A message in quarantine; lists leave out the message."""

    id: str
    queue: str
    reason: str
    detail: str
    message_id: str | None
    status: str
    received_at: str
    message: dict[str, Any] | None = None
    links: dict[str, str]


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
    status: Annotated[str, Query(pattern="^(held|released|discarded|all)$")] = "held",
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


def _own(platform: Platform, who: Principal) -> bool:
    return who.workspace == platform.workspace


def _view(one: Quarantined) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in ("id", "queue", "reason", "detail", "message_id", "status")},
        "received_at": timestamp(one.received_at),
        "links": {"self": f"/quarantine/{one.id}"},
    }
