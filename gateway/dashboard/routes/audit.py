"""Who did what, when and why."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.dashboard.session import Session
from gateway.dashboard.views import Desk, page
from gateway.queries.audit import list_audit
from gateway.queries.page import BadCursor
from store.audit import first_broken

__all__ = ["ROUTES"]


@page()
async def audit(request: Request, desk: Desk, session: Session) -> Response:
    """The newest entries; with ``verify``, whether the chain of digests still holds."""
    workspace, cursor = session.principal.workspace, request.query_params.get("cursor")
    try:
        found = await desk.platform.database.read(
            lambda conn: list_audit(conn, workspace, cursor=cursor, most=100)
        )
    except BadCursor as error:
        raise HTTPException(400, str(error)) from error
    verify = request.query_params.get("verify") == "1"
    broken = await desk.platform.database.read(lambda conn: first_broken(conn, workspace)) if verify else None
    return desk.render(request, "audit.html", session, found=found, verified=verify, broken=broken)


ROUTES = [Route("/audit", audit)]
