"""Moving a run to another version of its flow."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from contracts.errors import NotMigratable, UnknownFlow
from gateway.audit import audited
from gateway.auth import Principal, may
from gateway.bodies import read_object
from gateway.docs import answers, json_body
from gateway.gateway import platform_of
from gateway.problems import Problem
from gateway.responses import Json
from gateway.routes.actions import accepted, open_run
from gateway.shapes import Accepted
from orchestrator.migration import Move

__all__ = ["router"]

router = APIRouter(tags=["runs"])

_MOST_NAMES = 1_000


class MovePreview(BaseModel):
    """What a move would come to; nothing was asked."""

    run: str
    to: int
    possible: bool
    reasons: list[str] = Field(description="Why not; empty when it is possible")


@router.post(
    "/runs/{run_id}/migrate",
    summary="Move a run to another version of its flow",
    status_code=202,
    responses=answers(
        {
            202: (
                Accepted,
                "Durable on the bus; the run's history tells what came of it",
            ),
            200: (MovePreview, "What it would come to (`dry_run`)"),
        },
        ("run-not-found", "run-ended", "not-started", "bus-unavailable", "not-migratable"),
        ("malformed-json", "too-large", "unsupported-media-type", "invalid-parameter"),
    ),
    openapi_extra=json_body(
        "The version, what nodes are called there, and what the run may do without",
        schema={
            "type": "object",
            "required": ["to"],
            "properties": {
                "to": {"type": "integer", "minimum": 1, "description": "The version"},
                "renames": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "Each node's name in the new version by its name in the old one",
                },
                "without": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "New nodes before the place where the run stands that it may do without",
                },
                "dry_run": {"type": "boolean", "description": "Only say whether it could be moved"},
                "reason": {"type": "string", "description": "Why; it is kept in the audit log"},
            },
            "additionalProperties": False,
        },
        examples={
            "a renamed step": {"to": 2, "renames": {"quote": "estimate"}, "reason": "the fare was wrong"}
        },
    ),
)
async def migrate(
    request: Request, run_id: str, who: Annotated[Principal, Depends(may("act on runs"))]
) -> Response:
    """A run keeps the version that it was started with, unless it is moved here. It is moved only when
    nothing of it would be skipped, repeated or lost; `not-migratable` says in `reasons` what stands against
    it. What a function reads of other steps' results can't be checked."""
    body = await read_object(
        request,
        {"to": int, "renames": dict, "without": list, "dry_run": bool, "reason": str},
        required=("to",),
    )
    move = _move(body)
    platform = platform_of(request)
    await open_run(request, who, run_id)
    try:
        reasons = await platform.client.objections(who.workspace, run_id, move)
        if body.get("dry_run"):
            return Json({"run": run_id, "to": move.to, "possible": not reasons, "reasons": reasons})
        if reasons:
            raise NotMigratable(run_id, reasons)
        detail = {"to": move.to, "renames": dict(move.renames), "without": list(move.without)}
        reason = body.get("reason")
        async with audited(platform, who, "run.migrate", f"run/{run_id}", reason=reason, detail=detail):
            await platform.client.migrate(who.workspace, run_id, move, reason=reason or "", actor=who.actor)
    except NotMigratable as error:
        raise Problem("not-migratable", f"{'; '.join(error.reasons)}.", reasons=error.reasons) from error
    except UnknownFlow as error:
        raise Problem("not-migratable", f"{error}.") from error
    return accepted(run_id, "migrate")


def _move(body: dict[str, Any]) -> Move:
    """Raises Problem for what is no move."""
    to, renames, without = body["to"], body.get("renames") or {}, body.get("without") or []
    errors = []
    if isinstance(to, bool) or to < 1:
        errors.append({"pointer": "/to", "expected": "a version, 1 or more", "got": str(to)})
    for pointer, names in (("/renames", [*renames, *renames.values()]), ("/without", without)):
        if len(names) > _MOST_NAMES or not all(map(_is_name, names)):
            errors.append({"pointer": pointer, "expected": "names of nodes", "got": "something else"})
    if errors:
        said = "; ".join(f"{error['pointer']} takes {error['expected']}" for error in errors)
        raise Problem("invalid-parameter", f"{said}.", errors=errors)
    return Move(to, renames, tuple(without))


def _is_name(given: Any) -> bool:
    return isinstance(given, str) and 0 < len(given) <= 512 and "\0" not in given
