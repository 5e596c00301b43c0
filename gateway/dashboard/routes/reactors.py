"""Reactors and services: how each keeps up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bus.port import QueueStats
from contracts.errors import AntiphonError
from gateway.dashboard.session import Session
from gateway.dashboard.views import Desk, page
from gateway.queries.overview import ReactorNumbers, reactor_numbers

__all__ = ["ROUTES"]

_ANSWER_WITHIN = 1.5  # seconds that the broker gets for all queues together


@dataclass(frozen=True, slots=True)
class Line:
    """One reactor or service. ``queue`` is None when the broker did not say."""

    kind: str
    types: tuple[str, ...]
    numbers: ReactorNumbers
    queue: QueueStats | None


@page()
async def reactors(request: Request, desk: Desk, session: Session) -> Response:
    """The table."""
    platform, workspace = desk.platform, session.principal.workspace
    named = [(reactor.name, "reactor", reactor.types) for reactor in platform.reactors]
    named += [(service.name, "service", tuple(service.handlers)) for service in platform.services]
    names = [name if kind == "reactor" else f"service.{name}" for name, kind, _ in named]

    async def depth(name: str, kind: str) -> QueueStats | None:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                return await platform.bus.stats(f"{kind}.{name}")
        except (AntiphonError, TimeoutError):
            return None  # shown as unknown

    numbers, *queues = await asyncio.gather(
        platform.database.read(lambda conn: reactor_numbers(conn, workspace, names)),
        *(depth(name, kind) for name, kind, _ in named),
    )
    lines = [
        Line(kind, tuple(types), each, queue if isinstance(queue, QueueStats) else None)
        for (_, kind, types), each, queue in zip(
            named, numbers if isinstance(numbers, list) else [], queues, strict=True
        )
    ]
    template = "_reactors.html" if request.headers.get("hx-request") else "reactors.html"
    return desk.render(request, template, session, lines=lines)


ROUTES = [Route("/reactors", reactors)]
