"""Events: publish one, and watch them as they come."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import orjson
import structlog
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from bus.envelope import publication
from contracts.crash import reached
from contracts.envelope import STRUCTURED, Event
from contracts.errors import ForgedMessage, LiveUnavailable, PublishFailed, StoreError, Unroutable
from gateway.auth import Principal, may, standing
from gateway.docs import IDEMPOTENCY, LAST_EVENT_ID, answers
from gateway.gateway import gateway_of, platform_of
from gateway.idempotency import begin
from gateway.incoming import read_draft
from gateway.platform import Platform
from gateway.problems import Problem
from gateway.responses import Json
from gateway.sse import EventStream, feed_events, last_event_id
from store.events import insert_events
from store.live.feeds import workspace_feed

__all__ = ["router"]

router = APIRouter(tags=["events"])
log = structlog.get_logger(__name__)


class EventAccepted(BaseModel):
    """An event that the broker has."""

    id: str
    source: str = Field(description="Where it comes from, as it was published")
    type: str
    correlation: str
    routed: bool = Field(description="False when no reactor and no flow listens to this type")
    links: dict[str, str]


_BOOKED = {"type": "ride.booked.v1", "data": {"ride_id": "r-1", "driver": "d-7"}, "subject": "r-1"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The short form, a structured CloudEvent, or only the data with `ce-` headers",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "data"],
                    "properties": {
                        "type": {"type": "string"},
                        "data": {},
                        "id": {"type": "string"},
                        "subject": {"type": "string"},
                        "correlation": {"type": "string"},
                    },
                },
                "examples": {"short form": {"value": _BOOKED}},
            },
            STRUCTURED: {
                "schema": {"type": "object", "required": ["specversion", "id", "source", "type"]},
                "examples": {
                    "structured": {
                        "value": {"specversion": "1.0", "id": "e-1", "source": "/dispatch", **_BOOKED}
                    }
                },
            },
        },
    },
    "parameters": [IDEMPOTENCY],
}


@router.post(
    "/events",
    summary="Publish an event",
    status_code=202,
    responses=answers(
        {202: (EventAccepted, "The broker has it on disk; what nobody listens to, the store")},
        ("malformed-json", "too-deep", "malformed-event", "workspace-mismatch", "too-large"),
        ("unsupported-media-type", "unknown-contract", "contract-violation", "invalid-parameter"),
        ("idempotency-reuse", "bus-unavailable"),
    ),
    openapi_extra=_BODY,
)
async def publish(request: Request, who: Annotated[Principal, Depends(may("publish events"))]) -> Response:
    """Publishes a background event to whoever reacts to its type, and to flows that wait for it. It is
    checked against its contract before, and confirmed by the broker before the answer.

    The source is bound to the key's workspace: it begins with `/<workspace>/`. An event without an id
    gets one: derived from the `Idempotency-Key` and what is asked, or random. Reactors handle a source
    and id once.
    """
    platform = platform_of(request)
    draft = await read_draft(request, platform, who.workspace)
    attempt = await begin(request, platform, who.workspace, draft.document())
    if attempt.replay is not None:
        return attempt.replay
    async with attempt:
        event = draft.event(attempt.id, platform.clock())
        with gateway_of(request).admission.unconfirmed.under_way():
            routed = await _publish(platform, event)
    await _record(platform, event, routed)
    view = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "correlation": event.correlation,
        "routed": routed,
        "links": {"story": f"/stories/{quote(event.correlation, safe='')}"},
    }
    return await attempt.finish(Json(view, status_code=202))


@router.get(
    "/events/stream",
    summary="Watch events live",
    response_class=Response,
    responses=answers(
        {200: (None, "`text/event-stream`: the workspace's facts, reactions and events as they happen")},
        ("bad-request", "too-many-streams"),
    ),
    openapi_extra={"parameters": [LAST_EVENT_ID]},
)
async def stream(
    request: Request,
    who: Annotated[Principal, Depends(may("read operations"))],
    kind: Annotated[list[str] | None, Query(description="Only these: fact, reaction, event")] = None,
    type: Annotated[list[str] | None, Query(description="Only entries of these types")] = None,
) -> Response:
    """Server-sent events. With `Last-Event-ID` it begins behind that one, so that nothing is missed; when
    that is no longer kept, an event `reset` says so. A client that reads too slowly is cut off, and can
    come back in the same way."""
    gateway = gateway_of(request)
    kinds, types = set(kind or ()), set(type or ())

    def wanted(entry: dict[str, Any]) -> bool:
        return (not kinds or entry.get("kind") in kinds) and (not types or entry.get("type") in types)

    feed = workspace_feed(who.workspace)
    source = feed_events(gateway.platform.live, feed, last_event_id(request), wanted)
    return EventStream(source, gateway.streams, stands=standing(request))


async def _publish(platform: Platform, event: Event) -> bool:
    """Whether anybody listens. Raises BusError when the broker has not confirmed it."""
    try:
        reached("gateway.routes.events.publish.before")
        await platform.bus.publish(publication(event))
        reached("gateway.routes.events.publish.after")
    except ForgedMessage as forged:
        # What the gateway's own key may not say, no API key may: another's source, the platform's types.
        raise Problem("forbidden", f"The gateway may not sign this: {forged}.") from forged
    except PublishFailed as failed:
        if all(isinstance(error, Unroutable) for error in failed.errors.values()):
            return False
        raise
    return True


async def _record(platform: Platform, event: Event, routed: bool) -> None:
    at = platform.clock()
    try:
        reached("gateway.routes.events.record.before")
        await platform.database.write(lambda conn: insert_events(conn, [(event, routed)], at))
        reached("gateway.routes.events.record.after")
    except StoreError as error:
        if not routed:  # the broker has given it back, so nothing has it
            raise
        # The broker has it, so it is accepted; refusing now would make the client send it twice.
        log.warning("a published event could not be recorded", event_id=event.id, error=str(error))
    entry = {
        "kind": "event",
        "correlation": event.correlation,
        "event_id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "at": at,
    }
    try:
        reached("gateway.routes.events.tell.before")
        await platform.live.append(workspace_feed(event.workspace), orjson.dumps(entry))
        reached("gateway.routes.events.tell.after")
    except LiveUnavailable as error:
        log.info("a published event is missing in the live feed", event_id=event.id, error=str(error))
