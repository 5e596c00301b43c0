"""Runs: start, list, show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from contracts.envelope import timestamp
from contracts.errors import StoreError
from gateway.auth import Principal, may
from gateway.bodies import read_json
from gateway.docs import IDEMPOTENCY, PREFER, answers, json_body
from gateway.gateway import gateway_of, platform_of
from gateway.idempotency import begin, mark_accepted, was_accepted
from gateway.platform import Platform
from gateway.preferences import unless_gone, wait_preference
from gateway.problems import Problem
from gateway.queries.history import list_facts
from gateway.queries.runs import STATUSES, Run, RunFilter, get_purged, get_run, list_runs
from gateway.responses import Json
from gateway.shapes import HistoryView, RunList, RunView, accepted_view, fact_view, run_view
from gateway.text import checked_text
from gateway.trace_context import trace_of
from orchestrator.client import Receipt
from orchestrator.flow import Flow
from orchestrator.wire import digest_of

__all__ = ["find_run", "router"]

router = APIRouter(tags=["runs"])
log = structlog.get_logger(__name__)

_NOT_STARTED = "accepted, not started yet"


@router.post(
    "/flows/{flow}/runs",
    summary="Start a run",
    status_code=202,
    responses=answers(
        {
            200: (RunView, "The run was there already with this input, or ended while you waited"),
            202: (RunView, "The run is durable and has not ended; `Location` is its address"),
        },
        ("malformed-json", "too-deep", "bad-request", "unknown-flow", "start-conflict", "run-purged"),
        ("too-large",),
        ("unsupported-media-type", "contract-violation", "invalid-parameter", "idempotency-reuse"),
    ),
    openapi_extra={
        **json_body("The flow's input, as its contract says"),
        "parameters": [IDEMPOTENCY, PREFER],
    },
)
async def start_run(
    request: Request, flow: str, who: Annotated[Principal, Depends(may("start runs"))]
) -> Response:
    """Starts a run of the newest version of a flow. The body is the flow's input; the field that the
    flow names as its key gives the run its identity, so the same request twice starts one run: the
    second is answered with 200 and the run as it stands, or with 409 if the input differs.

    `Prefer: wait=10` waits up to 10 s (30 at the most) for the end of the run and answers 200 with
    its result when it comes in time, whatever it is: see `status`. `X-Correlation-ID` puts the run
    into a story that has begun elsewhere.
    """
    platform = platform_of(request)
    definition = platform.flow(flow)
    if definition is None:
        known = ", ".join(sorted(platform.flows)) or "none"
        raise Problem("unknown-flow", f"There is no flow {flow[:80]!r}; the flows here are: {known}.")
    input = await read_json(request)
    key = platform.client.key_of(flow, input)  # checks the contract, before anything is stored
    attempt = await begin(request, platform, who.workspace, input)
    if attempt.replay is not None:
        return attempt.replay
    async with attempt:
        run_id = platform.client.run_id(who.workspace, flow, key)
        correlation = _correlation(request) or run_id
        receipt = await platform.client.start(
            who.workspace,
            flow,
            input,
            start_id=attempt.id,
            correlation=correlation,
            traceparent=trace_of(request.headers).get("traceparent"),
            wait=platform.start_wait,
        )
        if receipt.outcome == "conflict":
            raise _conflict(definition, key, run_id)
        if receipt.outcome == "purged":
            raise Problem(
                "run-purged",
                f"{definition.key} {key!r} had its run of {flow}, which ended and was purged since. It is "
                "not run a second time: a new run needs a new key.",
            )
        if receipt.outcome == "accepted":
            await _note(platform, who.workspace, run_id, flow, key, correlation)
        run, headers = await _waited(request, who.workspace, receipt)
        if run is not None and receipt.outcome == "accepted" and digest_of(run.input) != digest_of(input):
            raise _conflict(definition, key, run_id)  # another start had come before this one
    if run is not None:
        return await attempt.finish(Json(run_view(run), headers=headers))
    created = receipt.outcome == "created"
    view = accepted_view(
        run_id,
        flow,
        key,
        correlation,
        status="running" if created else "accepted",
        version=definition.version if created else None,
        waiting=None if created else _NOT_STARTED,
    )
    response = Json(view, status_code=202, headers={**headers, "Retry-After": "1"})
    # Who is only accepted may turn out to have come second, with another input: a repeat has to be told.
    return response if receipt.outcome == "accepted" else await attempt.finish(response)


@router.get(
    "/runs",
    summary="List runs",
    responses=answers({200: (RunList, "A page of runs, newest first")}, ("bad-cursor", "invalid-parameter")),
)
async def list_all(
    request: Request,
    who: Annotated[Principal, Depends(may("read runs"))],
    flow: Annotated[str | None, Query(max_length=200, description="Only runs of this flow")] = None,
    status: Annotated[
        list[str] | None, Query(description=f"Only these; repeat it for several: {', '.join(STATUSES)}")
    ] = None,
    key: Annotated[
        str | None, Query(max_length=200, description="Only this key; `abc*` finds what begins with abc")
    ] = None,
    correlation: Annotated[str | None, Query(max_length=200, description="Only runs of this story")] = None,
    since: Annotated[
        datetime | None, Query(alias="from", description="Made at this time or later (RFC 3339)")
    ] = None,
    until: Annotated[datetime | None, Query(alias="to", description="Made before this time")] = None,
    cursor: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """Runs of the key's workspace, newest first, in pages."""
    unknown = [one for one in status or () if one not in STATUSES]
    if unknown:
        raise Problem(
            "invalid-parameter",
            f"There is no status {unknown[0][:40]!r}; the statuses are: {', '.join(STATUSES)}.",
            errors=[{"parameter": "status", "expected": ", ".join(STATUSES), "got": unknown[0][:80]}],
        )
    for name, value in (("flow", flow), ("key", key), ("correlation", correlation)):
        checked_text(name, value)
    wanted = RunFilter(flow, tuple(status or ()), key, correlation, _seconds(since), _seconds(until))
    page = await platform_of(request).database.read(
        lambda conn: list_runs(conn, who.workspace, wanted, cursor=cursor, most=limit)
    )
    return Json({"items": [run_view(run) for run in page.items], "next": page.next})


@router.get(
    "/runs/{run_id}",
    summary="Show a run",
    responses=answers(
        {
            200: (RunView, "The run"),
            202: (RunView, "The run was accepted and is not started yet"),
        },
        ("run-not-found", "run-purged"),
    ),
)
async def show(
    request: Request, run_id: str, who: Annotated[Principal, Depends(may("read runs"))]
) -> Response:
    """One run with its input and its result. A run that was accepted while no orchestrator answered is
    shown as `accepted` until one has started it."""
    found = await find_run(platform_of(request), who.workspace, run_id)
    if isinstance(found, Run):
        return Json(run_view(found))
    return Json(found, status_code=202, headers={"Retry-After": "1"})


@router.get(
    "/runs/{run_id}/history",
    summary="A run's history",
    responses=answers(
        {200: (HistoryView, "Facts, in order")}, ("run-not-found", "run-purged", "invalid-parameter")
    ),
)
async def show_history(
    request: Request,
    run_id: str,
    who: Annotated[Principal, Depends(may("read runs"))],
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Facts with a greater number")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> Response:
    """What happened in a run, in the past tense and in order; nothing is ever changed in it."""
    platform = platform_of(request)
    if not isinstance(await find_run(platform, who.workspace, run_id), Run):
        return Json({"run": run_id, "items": [], "next": None})
    facts = await platform.database.read(
        lambda conn: list_facts(conn, who.workspace, run_id, after=after, most=limit)
    )
    more = facts[-1].seq if len(facts) == limit else None
    return Json({"run": run_id, "items": [fact_view(fact) for fact in facts], "next": more})


async def find_run(platform: Platform, workspace: str, run_id: str) -> Run | dict[str, Any]:
    """The run, or the view of one that is accepted and not started yet. Raises Problem (404, 410)."""
    if run_id.isascii() and run_id.isprintable():
        run = await platform.database.read(lambda conn: get_run(conn, workspace, run_id))
        if run is not None:
            return run
        gone = await platform.database.read(lambda conn: get_purged(conn, workspace, run_id))
        if gone is not None:
            how = f"It ended as {gone.status} at {timestamp(gone.ended_at)}"
            raise Problem("run-purged", f"{how}, and was archived and purged at {timestamp(gone.purged_at)}.")
        note = await platform.database.read(lambda conn: was_accepted(conn, workspace, run_id))
        if note is not None:
            return accepted_view(run_id, **note, waiting=_NOT_STARTED)
    raise Problem("run-not-found", f"This workspace has no run {run_id[:80]!r}.")


async def _waited(request: Request, workspace: str, receipt: Receipt) -> tuple[Run | None, dict[str, str]]:
    """The run to answer a start with, if there is one after the wait that was asked for; the headers."""
    platform = platform_of(request)

    async def stored() -> Run | None:
        # With hundreds who wait for ends that come together, as many queries would be what they wait for.
        return await gateway_of(request).lookups.submit((workspace, receipt.run_id))

    headers = {"Location": f"/runs/{receipt.run_id}"}
    preferences = ", ".join(request.headers.getlist("prefer"))
    wait = wait_preference(preferences, platform.longest_wait)
    run = await stored() if receipt.outcome == "exists" else None
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait:g}"
        # A run that was there may have ended long ago: nobody tells of that again.
        if run is None or run.ended_at is None:
            ended = await unless_gone(request, platform.client.ended(receipt.run_id, wait))
            run = await stored() if ended or run is not None else None
    return run, headers


def _conflict(flow: Flow, key: str, run_id: str) -> Problem:
    return Problem(
        "start-conflict",
        f"{flow.key} {key!r} has a run of {flow.name} already, which was started with another input.",
        headers={"Location": f"/runs/{run_id}"},
        run=f"/runs/{run_id}",
    )


async def _note(
    platform: Platform, workspace: str, run_id: str, flow: str, key: str, correlation: str
) -> None:
    note = {"flow": flow, "key": key, "correlation": correlation, "at": platform.clock()}
    try:
        await mark_accepted(platform, workspace, run_id, note)
    except StoreError as error:
        # The start itself is safe on the bus, and without the store no address answers anyway.
        log.warning("an accepted run could not be noted", run=run_id, error=str(error))


def _correlation(request: Request) -> str | None:
    return checked_text("X-Correlation-ID", request.headers.get("x-correlation-id"))


def _seconds(at: datetime | None) -> float | None:
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
