"""Whether every open run can go on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from contracts.envelope import timestamp
from gateway.auth import Principal, may
from gateway.docs import answers
from gateway.gateway import platform_of
from gateway.queries.overview import stuck_runs
from gateway.queries.reconciliation import Reconciliation, read_reconciliation
from gateway.queries.runs import RunSummary
from gateway.responses import Json
from gateway.shapes import optional_time, run_links

__all__ = ["router"]

router = APIRouter(tags=["operations"])

_MOST_STUCK = 100


class HeldUpRun(BaseModel):
    """An open run of this workspace that does not go on by itself."""

    run: str
    flow: str
    version: int
    key: str
    status: str = Field(description="`stuck`: it waits for an operator; `unproven`: the reconciler doubts it")
    code: str = Field(examples=["timer_lost"], description="`incident`, or what is doubted")
    reason: str
    since: str
    links: dict[str, str]


class ReconciliationView(BaseModel):
    """Counts are of all workspaces; `items` are of the key's own."""

    proved: int = Field(description="Open runs that stood still, and whose reason to wait can still come")
    unproven: int = Field(description="Open runs that may wait for what can't come")
    unowned: int = Field(description="Open runs of partitions that no orchestrator owns now")
    repaired: dict[str, int] = Field(
        description="Repairs by reason, since the store was made", examples=[{"timer_lost": 1}]
    )
    looked_at: str | None = Field(
        description="When the partition that was looked at longest ago was; null while one never was"
    )
    items: list[HeldUpRun]


@router.get(
    "/reconciliation",
    summary="Whether every open run can go on",
    responses=answers({200: (ReconciliationView, "What the reconcilers found")}),
)
async def show(request: Request, who: Annotated[Principal, Depends(may("read runs"))]) -> Response:
    """Each owner of a partition proves all the time that its open runs can go on. What it repaired is
    counted; what it can't prove, and what is stuck, is listed with the reason."""
    platform = platform_of(request)
    now = platform.clock()

    def read(conn: Connection) -> tuple[Reconciliation, list[RunSummary]]:
        return (
            read_reconciliation(conn, who.workspace, now),
            stuck_runs(conn, who.workspace, most=_MOST_STUCK),
        )

    found, stuck = await platform.database.read(read)
    items = [
        _item(run.run_id, run.flow, run.version, run.key, "unproven", run.code, run.reason, run.since)
        for run in found.listed
    ]
    items += [
        _item(run.id, run.flow, run.version, run.key, "stuck", "incident", run.waiting or "", run.updated_at)
        for run in stuck
    ]
    return Json(
        {
            "proved": found.proved,
            "unproven": found.unproven,
            "unowned": found.unowned,
            "repaired": found.repaired,
            "looked_at": optional_time(found.oldest),
            "items": items,
        }
    )


def _item(
    run_id: str, flow: str, version: int, key: str, status: str, code: str, reason: str, since: float
) -> dict[str, object]:
    return {
        "run": run_id,
        "flow": flow,
        "version": version,
        "key": key,
        "status": status,
        "code": code,
        "reason": reason,
        "since": timestamp(since),
        "links": run_links(run_id),
    }
