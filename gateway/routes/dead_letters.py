"""Dead letters: list, show, redrive, discard."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from contracts.envelope import timestamp
from gateway.auth import Principal, may
from gateway.bodies import read_object
from gateway.docs import answers, json_body
from gateway.gateway import gateway_of, platform_of
from gateway.messages import shown_body
from gateway.problems import Problem
from gateway.queries.dead_letters import (
    DeadLetter,
    DeadLetterGroup,
    DeadLetterSummary,
    get_dead_letter,
    list_dead_letters,
    list_groups,
)
from gateway.responses import Json
from gateway.shapes import optional_time
from gateway.text import checked_text

__all__ = ["router"]

router = APIRouter(tags=["dead letters"])

Viewer = Annotated[Principal, Depends(may("read operations"))]
Operator = Annotated[Principal, Depends(may("settle dead letters"))]

_BAD_BODY = ("malformed-json", "too-large", "unsupported-media-type", "invalid-parameter")
_WHY = {"reason": {"type": "string", "description": "Why; it is kept in the audit log"}}


class DeadLetterView(BaseModel):
    """A dead letter; lists leave out traceback and message."""

    id: str
    reactor: str
    type: str
    event_id: str
    source: str
    correlation: str
    group: str = Field(description="Reactor and kind of error: what `group` filters by")
    error_type: str
    error_message: str
    attempts: int
    status: str = Field(description="dead, redriven or discarded")
    received_at: str
    dead_at: str
    settled_at: str | None
    settled_by: str | None
    reason: str | None
    traceback: str | None = None
    message: dict[str, Any] | None = None
    links: dict[str, str]


class GroupView(BaseModel):
    """Dead letters of one reactor that failed in the same way."""

    group: str
    reactor: str
    error_type: str
    error_message: str
    count: int
    first_at: str
    last_at: str


class DeadLetterList(BaseModel):
    """A page of dead letters, and all groups of what is dead now."""

    groups: list[GroupView]
    items: list[DeadLetterView]
    next: str | None


class Redriven(BaseModel):
    """How many messages the broker has again."""

    redriven: int


class Discarded(BaseModel):
    """How many were given up."""

    discarded: int


@dataclass(frozen=True, slots=True)
class Filters:
    """Which dead letters."""

    group: Annotated[str | None, Query(max_length=2000, description="Only of this group")] = None
    reactor: Annotated[str | None, Query(max_length=200, description="Only of this reactor")] = None
    correlation: Annotated[str | None, Query(max_length=200, description="Only of this story")] = None
    status: Annotated[str, Query(pattern="^(dead|redriven|discarded|all)$")] = "dead"
    cursor: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None
    limit: Annotated[int, Query(ge=1, le=500)] = 50


@router.get(
    "/dead-letters",
    summary="List dead letters",
    responses=answers({200: (DeadLetterList, "A page, newest first")}, ("bad-cursor", "invalid-parameter")),
)
async def list_all(request: Request, who: Viewer, wanted: Annotated[Filters, Depends()]) -> Response:
    """Reactions that ended in failure, newest first, and how they group by reactor and error."""
    for name in ("group", "reactor", "correlation"):
        checked_text(name, getattr(wanted, name), 2000)
    database = platform_of(request).database
    page = await database.read(
        lambda conn: list_dead_letters(
            conn,
            who.workspace,
            status=None if wanted.status == "all" else wanted.status,
            reactor=wanted.reactor,
            group_key=wanted.group,
            correlation=wanted.correlation,
            cursor=wanted.cursor,
            most=wanted.limit,
        )
    )
    groups = await database.read(lambda conn: list_groups(conn, who.workspace, reactor=wanted.reactor))
    return Json(
        {
            "groups": [_group(group) for group in groups],
            "items": [_view(letter) for letter in page.items],
            "next": page.next,
        }
    )


@router.get(
    "/dead-letters/{letter_id}",
    summary="Show a dead letter",
    responses=answers({200: (DeadLetterView, "The dead letter")}, ("dead-letter-not-found",)),
)
async def show(request: Request, letter_id: str, who: Viewer) -> Response:
    """One dead letter with its message, as it came, and the traceback of its last attempt."""
    letter = None
    if letter_id.isprintable():
        letter = await platform_of(request).database.read(
            lambda conn: get_dead_letter(conn, who.workspace, letter_id)
        )
    if letter is None:
        raise Problem("dead-letter-not-found", f"This workspace has no dead letter {letter_id[:80]!r}.")
    return Json(_view(letter))


@router.post(
    "/dead-letters/redrive",
    summary="Redrive a group",
    status_code=202,
    responses=answers({202: (Redriven, "The broker has them again")}, ("bus-unavailable",), _BAD_BODY),
    openapi_extra=json_body(
        "Which group, and why",
        schema={
            "type": "object",
            "required": ["group"],
            "properties": {"group": {"type": "string"}, **_WHY},
            "additionalProperties": False,
        },
        examples={"fixed": {"group": "receipts KeyError: 'fare'", "reason": "fixed in 1.4.2"}},
    ),
)
async def redrive_group(request: Request, who: Operator) -> Response:
    """Sends the letters of a group to their reactor again, oldest first, up to 1,000 at once: 0 says that
    the group is empty. What a reactor has done already it does not do twice."""
    body = await read_object(request, {"group": str, "reason": str}, required=("group",))
    group = checked_text("group", body["group"], 2000) or ""
    gateway = gateway_of(request)
    count = await gateway.dead_letters.redrive_group(
        who.workspace, group, actor=who.actor, reason=body.get("reason") or ""
    )
    return Json({"redriven": count}, status_code=202)


@router.post(
    "/dead-letters/{letter_id}/redrive",
    summary="Redrive a dead letter",
    status_code=202,
    responses=answers(
        {202: (Redriven, "The broker has it again")},
        ("dead-letter-not-found", "already-settled", "contract-violation", "bus-unavailable"),
        _BAD_BODY,
    ),
    openapi_extra=json_body(
        "Why, and optionally other data",
        schema={
            "type": "object",
            "properties": {**_WHY, "data": {"description": "Sent instead of what came; checked"}},
            "additionalProperties": False,
        },
        examples={"fixed": {"reason": "the template is fixed"}},
        required=False,
    ),
)
async def redrive(request: Request, letter_id: str, who: Operator) -> Response:
    """Sends one letter to its reactor again, and to no other."""
    body = await read_object(request, {"reason": str, "data": object})
    await gateway_of(request).dead_letters.redrive(
        who.workspace, letter_id, actor=who.actor, reason=body.get("reason") or "", data=body.get("data")
    )
    return Json({"redriven": 1}, status_code=202)


@router.post(
    "/dead-letters/{letter_id}/discard",
    summary="Discard a dead letter",
    responses=answers(
        {200: (Discarded, "It is given up, and stays to be seen")},
        ("dead-letter-not-found", "already-settled"),
        _BAD_BODY,
    ),
    openapi_extra=json_body(
        "Why",
        schema={
            "type": "object",
            "required": ["reason"],
            "properties": _WHY,
            "additionalProperties": False,
        },
        examples={"test data": {"reason": "sent by a test"}},
    ),
)
async def discard(request: Request, letter_id: str, who: Operator) -> Response:
    """Gives a letter up for good. A reason is required."""
    body = await read_object(request, {"reason": str}, required=("reason",))
    count = await gateway_of(request).dead_letters.discard(
        who.workspace, letter_id, actor=who.actor, reason=body["reason"]
    )
    if not count:
        raise Problem("already-settled", f"Dead letter {letter_id} was redriven or discarded before.")
    return Json({"discarded": count})


def _view(letter: DeadLetterSummary) -> dict[str, Any]:
    view: dict[str, Any] = {
        name: getattr(letter, name)
        for name in (
            *("id", "reactor", "type", "event_id", "source", "correlation", "error_type", "error_message"),
            *("attempts", "status", "settled_by", "reason"),
        )
    }
    view["group"] = letter.group_key
    view["received_at"] = timestamp(letter.received_at)
    view["dead_at"] = timestamp(letter.dead_at)
    view["settled_at"] = optional_time(letter.settled_at)
    if isinstance(letter, DeadLetter):
        view["traceback"] = letter.traceback
        view["message"] = {
            "content_type": letter.content_type,
            "headers": letter.headers,
            **shown_body(letter.body),
        }
    here = f"/dead-letters/{letter.id}"
    view["links"] = {"self": here, "redrive": f"{here}/redrive", "discard": f"{here}/discard"}
    return view


def _group(group: DeadLetterGroup) -> dict[str, Any]:
    values = asdict(group)
    values["group"] = values.pop("group_key")
    return {**values, "first_at": timestamp(group.first_at), "last_at": timestamp(group.last_at)}
