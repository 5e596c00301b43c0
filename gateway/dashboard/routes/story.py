"""The story of one correlation id, and the stream that keeps an open page of it current."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.dashboard.routes.run import purged
from gateway.dashboard.session import Session
from gateway.dashboard.story import OVERDUE, build, owed
from gateway.dashboard.streaming import OVER, EventStream, changes
from gateway.dashboard.views import Desk, page
from gateway.queries.dead_letters import held_messages
from gateway.queries.runs import get_purged
from gateway.queries.story_rows import RowData, StoryRows, read_story
from store.live.feeds import workspace_feed

__all__ = ["ROUTES"]

_TICK = 3.0  # seconds after which an open story is drawn again though nothing happened


async def _rows(desk: Desk, session: Session, correlation: str) -> tuple[StoryRows, list[RowData]]:
    """The story's rows, and those of its events that are in quarantine where they are missed."""
    workspace, expected = session.principal.workspace, desk.platform.subscriptions()

    def read(conn: Connection) -> tuple[StoryRows | None, list[RowData], Any]:
        rows = read_story(conn, workspace, correlation)
        if rows is None:  # most stories have the id of their run
            return None, [], get_purged(conn, workspace, correlation)
        ids = {str(event["id"]) for event, _ in owed(rows.events, rows.reactions, expected)}
        return rows, held_messages(conn, workspace, ids) if ids else [], None

    rows, held, gone = (
        await desk.platform.database.read(read) if "\0" not in correlation else (None, [], None)
    )
    if gone is not None:
        raise purged(correlation, gone)
    if rows is None:
        raise HTTPException(404, f"This workspace has no story {correlation[:80]}.")
    return rows, held


@page()
async def story(request: Request, desk: Desk, session: Session) -> Response:
    """The page, and the part of it that is asked for again when something changed."""
    correlation = request.path_params["correlation"]
    rows, held = await _rows(desk, session, correlation)
    true_axis = request.query_params.get("axis") == "true"
    told = build(
        correlation,
        runs=rows.runs,
        histories=rows.histories,
        events=rows.events,
        reactions=rows.reactions,
        dead_letters=rows.dead_letters,
        audit=rows.audit,
        held=held,
        expected=desk.platform.subscriptions(),
        now=desk.now(),
        true_axis=true_axis,
    )
    template = "_story.html" if request.headers.get("hx-request") else "story.html"
    return desk.render(
        request,
        template,
        session,
        story=told,
        runs=rows.runs,
        main=_main(rows.runs),
        truncated=rows.truncated,
        stamp=_stamp(rows, held, desk.now()),
        page_path=f"/ui/stories/{quote(correlation, safe='')}",
    )


@page()
async def stream(request: Request, desk: Desk, session: Session) -> Response:
    """Says when the story has changed, and now and then while it is open."""
    correlation = request.path_params["correlation"]
    seen = request.headers.get("last-event-id") or request.query_params.get("seen")

    async def stamp() -> str:
        if await desk.session(request) is None:
            return OVER
        try:
            return _stamp(*await _rows(desk, session, correlation), desk.now())
        except HTTPException:
            return OVER

    await _rows(desk, session, correlation)
    feed = workspace_feed(session.principal.workspace)
    return EventStream(changes(desk.platform.live, feed, correlation, stamp, seen), request.app.state.streams)


def _main(runs: list[RowData]) -> RowData | None:
    """The run that the story's buttons are for: the first one, or what was made from it last."""
    again = {run["linked_from"]: run for run in runs}
    main = runs[0] if runs else None
    while main is not None and main["id"] in again:
        main = again.pop(main["id"])
    return main


def _stamp(rows: StoryRows, held: list[RowData], now: float) -> str:
    """Differs whenever the page would: counts and newest times; and each tick while it is open."""
    facts = sum(map(len, rows.histories.values()))
    settled = sum(row["finished_at"] is not None for row in rows.reactions)
    tries = sum(row["attempts"] for row in rows.reactions)
    letters = "".join(sorted(row["status"][:3] for row in rows.dead_letters))
    states = ",".join(sorted(row["status"] for row in (*rows.reactions, *rows.runs)))
    fresh = any(now - row["at"] < OVERDUE + 2 * _TICK for row in rows.events)
    is_open = any(run["ended_at"] is None for run in rows.runs) or fresh or settled < len(rows.reactions)
    ids = ",".join(sorted(row["id"] for row in held))
    parts = (
        facts,
        len(rows.events),
        len(rows.reactions),
        settled,
        tries,
        letters,
        len(rows.audit),
        states,
        ids,
    )
    return f"{hash_of(parts)}.{int(now // _TICK) if is_open else 0}"


def hash_of(parts: tuple[object, ...]) -> str:
    """Short, and the same in every process."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


ROUTES = [
    Route("/stories/{correlation:path}/stream", stream),
    Route("/stories/{correlation:path}", story),
]
