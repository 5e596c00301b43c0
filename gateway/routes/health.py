"""Is it alive, and can it work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import text
from starlette.responses import Response

from contracts.errors import BusUnavailable, StoreError
from gateway.docs import answers
from gateway.gateway import platform_of
from gateway.platform import Platform
from gateway.responses import Json

__all__ = ["check", "router"]

router = APIRouter(tags=["operations"])

_PATIENCE = 2.0  # seconds for each part to answer


class Alive(BaseModel):
    """This process answers."""

    status: str = Field(examples=["alive"])
    incarnation: str


class Part(BaseModel):
    """One thing that the gateway needs."""

    ok: bool
    needed: bool = Field(description="Whether the gateway can't work without it")
    detail: str


class Ready(BaseModel):
    """Whether the gateway can work: ready, degraded (still 200), or not ready (503)."""

    status: str = Field(examples=["ready"])
    parts: dict[str, Part]


@router.get("/healthz", summary="Alive?", responses=answers({200: (Alive, "It is")}, keyed=False))
async def alive(request: Request) -> Response:
    """Says that this process answers, and nothing more: restart it when it does not."""
    return Json({"status": "alive", "incarnation": platform_of(request).incarnation})


@router.get(
    "/readyz",
    summary="Ready?",
    responses={
        **answers({200: (Ready, "It can work; `degraded` without the live store")}, keyed=False),
        503: {"model": Ready, "description": "The database or the bus does not answer"},
    },
)
async def ready(request: Request) -> Response:
    """Whether requests can be taken: asks the database, the bus and the live store now. Without the
    live store there are no streams and no rate limit, and everything else works."""
    parts = await check(platform_of(request))
    needed = all(part["ok"] for part in parts.values() if part["needed"])
    everything = all(part["ok"] for part in parts.values())
    status = "ready" if everything else "degraded" if needed else "not ready"
    headers = {"Cache-Control": "no-store"} | ({} if needed else {"Retry-After": "2"})
    return Json({"status": status, "parts": parts}, status_code=200 if needed else 503, headers=headers)


async def check(platform: Platform) -> dict[str, dict[str, Any]]:
    """Each part: ok, needed, and a word on it."""
    database, bus, live = await asyncio.gather(
        _ask(platform.database.read(lambda conn: conn.execute(text("SELECT 1")).scalar_one())),
        _ask(_bus(platform)),
        _ask(platform.live.ping()),
    )
    return {
        "database": {"ok": database is None, "needed": True, "detail": database or platform.database.dialect},
        "bus": {"ok": bus is None, "needed": True, "detail": bus or platform.bus.state},
        "live": {"ok": live is None, "needed": False, "detail": live or "answers"},
    }


async def _bus(platform: Platform) -> None:
    if platform.bus.state != "connected":
        raise BusUnavailable(f"the bus is {platform.bus.state}")


async def _ask(question: Awaitable[Any]) -> str | None:
    """What is wrong; None when nothing is."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await question
    except (StoreError, BusUnavailable) as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {_PATIENCE:g} s"
    return None
