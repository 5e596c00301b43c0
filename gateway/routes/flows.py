"""Flows: what can be started here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import Response

from gateway.auth import Principal, may
from gateway.docs import answers
from gateway.gateway import platform_of
from gateway.problems import Problem
from gateway.responses import Json

__all__ = ["router"]

router = APIRouter(tags=["flows"])


class FlowSummary(BaseModel):
    """A flow in a list."""

    name: str
    versions: list[int]
    key: str
    input: str
    links: dict[str, str]


class FlowList(BaseModel):
    """All flows of this app."""

    items: list[FlowSummary]


class FlowView(BaseModel):
    """A flow: its JSON form, the contract of its input, and the graph that runs."""

    name: str
    version: int
    versions: list[int]
    definition: dict[str, Any]
    input_schema: dict[str, Any]
    graph: dict[str, Any]
    links: dict[str, str]


@router.get("/flows", summary="List flows", responses=answers({200: (FlowList, "All flows, by name")}))
async def list_all(request: Request, who: Annotated[Principal, Depends(may("read runs"))]) -> Response:
    """The flows of this app, with the versions that are known."""
    flows = platform_of(request).flows
    items = []
    for name in sorted(flows):
        newest = max(flows[name], key=lambda flow: flow.version)
        items.append(
            {
                "name": name,
                "versions": sorted(flow.version for flow in flows[name]),
                "key": newest.key,
                "input": newest.input_type,
                "links": _links(name),
            }
        )
    return Json({"items": items})


@router.get(
    "/flows/{flow}",
    summary="Show a flow",
    responses=answers({200: (FlowView, "The flow")}, ("unknown-flow",)),
)
async def show(
    request: Request,
    flow: str,
    who: Annotated[Principal, Depends(may("read runs"))],
    version: int | None = None,
) -> Response:
    """The newest version of a flow, or the one asked for: as data, and as the graph that runs."""
    platform = platform_of(request)
    versions = {one.version: one for one in platform.flows.get(flow, ())}
    found = versions.get(max(versions, default=0) if version is None else version)
    if found is None:
        known = ", ".join(map(str, sorted(versions))) or "none"
        raise Problem(
            "unknown-flow", f"There is no flow {flow[:80]!r} in that version; the versions are: {known}."
        )
    return Json(
        {
            "name": found.name,
            "version": found.version,
            "versions": sorted(versions),
            "definition": found.as_json(),
            "input_schema": platform.registry.schema(found.input_type),
            "graph": asdict(found.graph()),
            "links": _links(flow),
        }
    )


def _links(flow: str) -> dict[str, str]:
    return {"self": f"/flows/{flow}", "start": f"/flows/{flow}/runs", "runs": f"/runs?flow={flow}"}
