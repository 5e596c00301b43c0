"""Stories: everything with one correlation id."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from contracts.envelope import timestamp
from gateway.auth import Principal, may, standing
from gateway.docs import LAST_EVENT_ID, answers
from gateway.gateway import gateway_of, platform_of
from gateway.problems import Problem
from gateway.queries.stories import Story, get_story
from gateway.queries.timeline import Entry
from gateway.responses import Json
from gateway.shapes import optional_time
from gateway.sse import EventStream, feed_events, last_event_id
from store.live.feeds import workspace_feed

__all__ = ["router"]

router = APIRouter(tags=["stories"])


class EntryView(BaseModel):
    """One thing on the timeline."""

    id: str
    kind: str = Field(description="fact, event, reaction, dead_letter, audit, or missing")
    lane: str = Field(description="run:<id>, events, reactor:<name>, or audit")
    type: str
    at: str = Field(description="The time that its process wrote")
    order: str = Field(description="The time it is shown at: never before its cause, whatever clocks say")
    cause: str | None = Field(description="The id of the entry that caused it")
    detail: dict[str, Any]


class StoryRun(BaseModel):
    """A run of the story."""

    id: str
    flow: str
    version: int
    key: str
    status: str
    parent: str | None
    created_at: str
    ended_at: str | None


class StoryView(BaseModel):
    """A story: runs, and one timeline of all that happened."""

    correlation: str
    runs: list[StoryRun]
    entries: list[EntryView]
    missing: int = Field(description="How many reactions were expected and have not come")
    truncated: bool
    links: dict[str, str]


# A correlation id may be any text, slashes too, so the stream's route stands before the story's.
@router.get(
    "/stories/{correlation:path}/stream",
    summary="Watch a story live",
    response_class=Response,
    responses=answers(
        {200: (None, "`text/event-stream`: what happens in this story, as it happens")},
        ("bad-request", "too-many-streams"),
    ),
    openapi_extra={"parameters": [LAST_EVENT_ID]},
)
async def stream(
    request: Request, correlation: str, who: Annotated[Principal, Depends(may("read operations"))]
) -> Response:
    """Server-sent events of one story; see `/events/stream`. It may begin before the story does."""
    gateway = gateway_of(request)
    source = feed_events(
        gateway.platform.live,
        workspace_feed(who.workspace),
        last_event_id(request),
        lambda entry: entry.get("correlation") == correlation,
    )
    return EventStream(source, gateway.streams, stands=standing(request))


@router.get(
    "/stories/{correlation:path}",
    summary="Show a story",
    responses=answers({200: (StoryView, "The story")}, ("story-not-found",)),
)
async def show(
    request: Request, correlation: str, who: Annotated[Principal, Depends(may("read operations"))]
) -> Response:
    """Runs with their histories, events, reactions, dead letters and what operators did, on one timeline
    with causes; and the reactions that were expected and have not come."""
    platform = platform_of(request)
    found = None
    if correlation.isprintable():
        subscriptions = platform.subscriptions()
        found = await platform.database.read(
            lambda conn: get_story(conn, who.workspace, correlation, subscriptions)
        )
    if found is None:
        raise Problem("story-not-found", f"This workspace knows nothing of {correlation[:80]!r}.")
    return Json(_view(found))


def _view(story: Story) -> dict[str, Any]:
    here = f"/stories/{quote(story.correlation, safe='')}"
    return {
        "correlation": story.correlation,
        "runs": [
            {
                **{name: run[name] for name in ("id", "flow", "version", "key", "status", "parent")},
                "created_at": timestamp(run["created_at"]),
                "ended_at": optional_time(run["ended_at"]),
            }
            for run in story.runs
        ],
        "entries": [_entry(entry) for entry in story.entries],
        "missing": story.missing,
        "truncated": story.truncated,
        "links": {"self": here, "stream": f"{here}/stream"},
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "lane": entry.lane,
        "type": entry.type,
        "at": timestamp(entry.at),
        "order": timestamp(entry.order),
        "cause": entry.cause,
        "detail": entry.detail,
    }
