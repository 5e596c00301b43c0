"""The box at the top: from a key or an id to its page."""

from __future__ import annotations

from urllib.parse import quote

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.dashboard.session import Session
from gateway.dashboard.views import Desk, page
from gateway.queries.dead_letters import get_dead_letter
from gateway.queries.runs import RunFilter, get_purged, get_run, list_runs
from gateway.queries.story_rows import read_story

__all__ = ["ROUTES"]


@page()
async def find(request: Request, desk: Desk, session: Session) -> Response:
    """To the one thing of that id; to the list where several runs have the key, or none has."""
    wanted = request.query_params.get("q", "").strip()[:500].replace("\0", "")
    workspace = session.principal.workspace

    def look(conn: Connection) -> str:
        if get_run(conn, workspace, wanted) or get_purged(conn, workspace, wanted):
            return f"/ui/runs/{quote(wanted, safe='')}"
        if get_dead_letter(conn, workspace, wanted) is not None:
            return f"/ui/dead-letters/{quote(wanted, safe='')}"
        with_key = list_runs(conn, workspace, RunFilter(key=wanted), most=2).items
        if len(with_key) == 1:
            return f"/ui/runs/{with_key[0].id}"
        if not with_key and read_story(conn, workspace, wanted) is not None:
            return f"/ui/stories/{quote(wanted, safe='')}"
        return f"/ui/runs?key={quote(wanted, safe='')}"

    to = await desk.platform.database.read(look) if wanted else "/ui/runs"
    return RedirectResponse(to, status_code=303)


ROUTES = [Route("/find", find)]
