"""One run: where it stands in its flow, what happened, what went in and came out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.dashboard.graph import Drawing, draw_flow
from gateway.dashboard.progress import UNDO, Progress, progress_of
from gateway.dashboard.session import Session
from gateway.dashboard.story_findings import fact_brief, fact_words, run_actions
from gateway.dashboard.streaming import OVER, EventStream, changes
from gateway.dashboard.views import Desk, page
from gateway.platform import Platform
from gateway.queries.audit import AuditEntry, list_audit
from gateway.queries.history import Fact, list_facts
from gateway.queries.runs import Run, RunSummary, get_purged, get_run, related_runs
from store.live.feeds import workspace_feed

__all__ = ["ROUTES", "find_run", "flow_drawing", "node_states", "purged"]

_MOST_FACTS = 2_000  # that are listed, the newest; where the run stands is told by all of them


async def find_run(desk: Desk, session: Session, run_id: str) -> Run:
    """The run. Raises HTTPException: 404 when this workspace has none of that id, 410 when it is gone."""
    workspace = session.principal.workspace

    def look(conn: Connection) -> tuple[Run | None, Any]:
        run = get_run(conn, workspace, run_id)
        return run, get_purged(conn, workspace, run_id) if run is None else None

    run, gone = await desk.platform.database.read(look) if "\0" not in run_id else (None, None)
    if run is not None:
        return run
    if gone is not None:
        raise purged(run_id, gone)
    raise HTTPException(
        404,
        f"This workspace has no run {run_id[:80]}. One that was only just accepted may not have begun.",
    )


def purged(run_id: str, gone: Any) -> HTTPException:
    """What is said of a run that has ended and is no longer kept; ``gone`` is what is left of it."""
    ended, taken = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for at in (gone.ended_at, gone.purged_at))
    text = f"The run {run_id} ended {gone.status} on {ended}, and was purged with its story on {taken}."
    return HTTPException(410, text)


def node_states(run: Run, progress: Progress) -> dict[str, str]:
    """The status of each node of the graph, by its id; what was not reached is left out."""
    states = {"(start)": "done"}
    for key, node in progress.nodes.items():
        if key.endswith(UNDO):
            known = {"done": "compensated", "failed": "stuck"}.get(node.status, "compensating")
            states[node.name] = "stuck" if node.status == "stuck" else known
        elif key + UNDO not in progress.nodes:
            states[key] = node.status
        if node.kind == "parallel" and node.status == "done":
            states[f"{node.name} (join)"] = "done"
    if run.ended:
        states["(end)"] = run.status
    return states


def flow_drawing(platform: Platform, run: Run, progress: Progress) -> Drawing | None:
    """The graph of the version that runs; None when this gateway does not have it."""
    for flow in platform.flows.get(run.flow, ()):
        if flow.version == run.version:
            states = node_states(run, progress)
            begin = flow.plan.places.get(progress.begins_at or "")
            if begin is not None:
                places = flow.plan.places.items()
                before = (name for name, place in places if place.position < begin.position)
                states = dict.fromkeys(before, "skipped") | states
            return draw_flow(flow.graph(), states)
    return None


@page()
async def show_run(request: Request, desk: Desk, session: Session) -> Response:
    """The page, and the part of it that is asked for again when something changed."""
    run = await find_run(desk, session, request.path_params["run_id"])
    workspace = session.principal.workspace

    def read(conn: Connection) -> tuple[list[Fact], list[RunSummary], list[AuditEntry]]:
        deeds = list_audit(conn, workspace, targets=[f"run/{run.id}"], most=50).items
        return (
            list_facts(conn, workspace, run.id, most=max(run.seq, 1)),
            related_runs(conn, workspace, run.id),
            deeds,
        )

    facts, related, deeds = await desk.platform.database.read(read)
    progress = progress_of([_as_row(fact) for fact in facts])
    template = "_run.html" if request.headers.get("hx-request") else "run.html"
    return desk.render(
        request,
        template,
        session,
        run=run,
        facts=facts[-_MOST_FACTS:],
        related=related,
        deeds=deeds,
        progress=progress,
        drawing=flow_drawing(desk.platform, run, progress),
        actions=run_actions({"id": run.id, "status": run.status, "error": run.error}),
        words=fact_words,
        brief=lambda fact: fact_brief({"data": fact.data}) or _fields(fact.data),
        page_path=f"/ui/runs/{run.id}",
        stamp=_stamp(run),
    )


@page()
async def stream(request: Request, desk: Desk, session: Session) -> Response:
    """Says when the run has a newer fact."""
    run = await find_run(desk, session, request.path_params["run_id"])
    workspace = session.principal.workspace

    async def stamp() -> str:
        if await desk.session(request) is None:
            return OVER
        newest = await desk.platform.database.read(lambda conn: get_run(conn, workspace, run.id))
        return _stamp(newest) if newest is not None else OVER

    seen = request.headers.get("last-event-id") or request.query_params.get("seen")
    source = changes(desk.platform.live, workspace_feed(workspace), run.id, stamp, seen)
    return EventStream(source, request.app.state.streams)


def _stamp(run: Run) -> str:
    return f"{run.seq}.{run.status}"


def _fields(data: Mapping[str, Any]) -> str:
    return ", ".join(list(data)[:6])


def _as_row(fact: Fact) -> Mapping[str, Any]:
    return {"type": fact.type, "node": fact.node, "at": fact.at, "seq": fact.seq, "data": fact.data}


ROUTES = [
    Route("/runs/{run_id}", show_run),
    Route("/runs/{run_id}/stream", stream),
]
