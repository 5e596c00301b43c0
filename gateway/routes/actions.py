"""What is asked of a run under way: signal, cancel, retry, pause, resume."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from contracts.errors import UnknownFlow
from gateway.audit import audited
from gateway.auth import Principal, may
from gateway.bodies import read_json, read_object
from gateway.docs import IDEMPOTENCY, answers, json_body
from gateway.gateway import platform_of
from gateway.idempotency import begin
from gateway.problems import Problem
from gateway.queries.runs import Run
from gateway.responses import Json
from gateway.routes.runs import find_run
from gateway.shapes import Accepted, run_links
from gateway.text import checked_text

__all__ = ["accepted", "open_run", "router"]

router = APIRouter(tags=["runs"])

Operator = Annotated[Principal, Depends(may("act on runs"))]

_RUN = ("run-not-found", "run-ended", "not-started", "bus-unavailable")
_BAD_BODY = ("malformed-json", "too-large", "unsupported-media-type", "invalid-parameter")
_ACCEPTED: dict[int, tuple[type[Accepted] | None, str]] = {
    202: (Accepted, "Durable on the bus, and will be done")
}
_REASON = {"reason": {"type": "string", "description": "Why; it is kept in the audit log"}}


@router.post(
    "/runs/{run_id}/signals/{name}",
    summary="Send a signal to a run",
    status_code=202,
    responses=answers(
        _ACCEPTED,
        ("run-not-found", "run-ended", "not-started", "bus-unavailable", "idempotency-reuse"),
        _BAD_BODY,
    ),
    openapi_extra={
        **json_body(
            "The signal's data: any JSON, or nothing",
            schema={},
            examples={"approve": {"by": "ann"}},
            required=False,
        ),
        "parameters": [IDEMPOTENCY],
    },
)
async def signal(
    request: Request, run_id: str, name: str, who: Annotated[Principal, Depends(may("signal runs"))]
) -> Response:
    """Hands data to a run that waits for a signal of this name, or will: one that comes early is kept."""
    checked_text("name", name)
    data = await read_json(request) if await request.body() else None
    platform = platform_of(request)
    attempt = await begin(request, platform, who.workspace, data)
    if attempt.replay is not None:
        return attempt.replay  # also when the run has ended since: the answer to this request was another
    detail = {"name": name, "id": attempt.id}
    async with attempt:
        await _started(request, who, run_id)  # an ended one, too: it may have taken this signal before
        async with audited(platform, who, "run.signal", f"run/{run_id}", detail=detail):
            await platform.client.signal(
                who.workspace, run_id, name, data, signal_id=attempt.id, actor=who.actor
            )
    return await attempt.finish(accepted(run_id, "signal", attempt.id))


@router.post(
    "/runs/{run_id}/cancel",
    summary="Cancel a run",
    status_code=202,
    responses=answers(_ACCEPTED, _RUN, _BAD_BODY),
    openapi_extra=json_body(
        "Why",
        schema={"type": "object", "properties": _REASON, "additionalProperties": False},
        examples={"asked": {"reason": "the rider asked for it"}},
        required=False,
    ),
)
async def cancel(request: Request, run_id: str, who: Operator) -> Response:
    """Asks a run to stop. What it did is compensated first, in reverse order; after its pivot a run
    only goes forward, and its history says that the cancel came too late."""
    reason = (await read_object(request, {"reason": str})).get("reason")
    platform = platform_of(request)
    await open_run(request, who, run_id)
    async with audited(platform, who, "run.cancel", f"run/{run_id}", reason=reason):
        await platform.client.cancel(who.workspace, run_id, reason=reason or "", actor=who.actor)
    return accepted(run_id, "cancel")


@router.post(
    "/runs/{run_id}/retry",
    summary="Retry a run",
    status_code=202,
    responses=answers(_ACCEPTED, _RUN, ("not-retryable", "idempotency-reuse"), _BAD_BODY),
    openapi_extra={
        **json_body(
            "From which node, and why",
            schema={
                "type": "object",
                "properties": {
                    "from_node": {"type": "string", "description": "A node of the flow"},
                    **_REASON,
                },
                "additionalProperties": False,
            },
            examples={"from a step": {"from_node": "capture_payment", "reason": "the bank is back"}},
            required=False,
        ),
        "parameters": [IDEMPOTENCY],
    },
)
async def retry(request: Request, run_id: str, who: Operator) -> Response:
    """A stuck run goes on: it keeps its address. An ended one is never changed: a new run is made that
    is linked to it, and `run` and `Location` are the new one's. So a repeat makes another one, unless it
    has the `Idempotency-Key` of the first."""
    body = await read_object(request, {"from_node": str, "reason": str})
    node = checked_text("from_node", body.get("from_node"))
    platform = platform_of(request)
    attempt = await begin(request, platform, who.workspace, body)
    if attempt.replay is not None:
        return attempt.replay
    async with attempt:
        await _started(request, who, run_id)
        detail = {"from_node": node} if node else None
        async with audited(
            platform, who, "run.retry", f"run/{run_id}", reason=body.get("reason"), detail=detail
        ):
            try:
                goes_on = await platform.client.retry(
                    who.workspace,
                    run_id,
                    from_node=node,
                    reason=body.get("reason") or "",
                    actor=who.actor,
                    retry_id=attempt.id if attempt.key is not None else None,
                )
            except UnknownFlow as error:
                raise Problem("not-retryable", f"{error}.") from error
    return await attempt.finish(accepted(goes_on, "retry"))


@router.post(
    "/runs/{run_id}/pause",
    summary="Pause a run",
    status_code=202,
    responses=answers(_ACCEPTED, _RUN, _BAD_BODY),
    openapi_extra=json_body("Why", schema={"type": "object", "properties": _REASON}, required=False),
)
async def pause(request: Request, run_id: str, who: Operator) -> Response:
    """Starts nothing new in a run until it is resumed; what is at work is let to end."""
    reason = (await read_object(request, {"reason": str})).get("reason")
    platform = platform_of(request)
    await open_run(request, who, run_id)
    async with audited(platform, who, "run.pause", f"run/{run_id}", reason=reason):
        await platform.client.pause(who.workspace, run_id, reason=reason or "", actor=who.actor)
    return accepted(run_id, "pause")


@router.post(
    "/runs/{run_id}/resume",
    summary="Resume a paused run",
    status_code=202,
    responses=answers(_ACCEPTED, _RUN, _BAD_BODY),
    openapi_extra=json_body("Why", schema={"type": "object", "properties": _REASON}, required=False),
)
async def resume(request: Request, run_id: str, who: Operator) -> Response:
    """Lets a paused run go on."""
    reason = (await read_object(request, {"reason": str})).get("reason")
    platform = platform_of(request)
    await open_run(request, who, run_id)
    async with audited(platform, who, "run.resume", f"run/{run_id}", reason=reason):
        await platform.client.resume(who.workspace, run_id, reason=reason or "", actor=who.actor)
    return accepted(run_id, "resume")


async def _started(request: Request, who: Principal, run_id: str) -> Run:
    """The run. Raises Problem: 404, or 409 while it is accepted and not started yet."""
    found = await find_run(platform_of(request), who.workspace, run_id)
    if isinstance(found, Run):
        return found
    raise Problem("not-started", "No orchestrator has taken the run up yet; try again.", retry_after=1)


async def open_run(request: Request, who: Principal, run_id: str) -> None:
    """Raises Problem: 404, or 409 when the run has not started yet, or has ended."""
    run = await _started(request, who, run_id)
    if run.ended:
        raise Problem("run-ended", f"The run is {run.status}: it has ended. Retry makes a new run from it.")


def accepted(run_id: str, what: str, id: str | None = None) -> Response:
    """202: what was asked of a run is durable."""
    view: dict[str, Any] = {"run": run_id, "accepted": what, "id": id, "links": run_links(run_id)}
    return Json(view, status_code=202, headers={"Location": f"/runs/{run_id}"})
