"""The audit log, as the gateway writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from contracts.crash import reached
from contracts.errors import AntiphonError
from gateway.auth import Principal
from gateway.platform import Platform
from gateway.problems import Problem
from store.audit import append_audit
from store.database import Database

__all__ = ["audited", "record", "write_down"]


async def record(
    platform: Platform,
    who: Principal,
    action: str,
    target: str,
    *,
    reason: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Write down what is about to be done. Raises StoreUnavailable, and then it must not be done.

    Written before the deed: an entry whose deed then failed is a question, a deed without an entry
    would be a hole.
    """
    entry = {"actor": who.actor, "action": action, "target": target, "reason": reason, "detail": detail}
    await write_down(platform.database, workspace=who.workspace, at=platform.clock(), **entry)


async def write_down(database: Database, **entry: Any) -> None:
    """One entry, as ``append_audit`` takes it. Raises StoreUnavailable."""
    reached("gateway.audit.record.before")
    await database.write(lambda conn: append_audit(conn, **entry))
    reached("gateway.audit.record.after")


@asynccontextmanager
async def audited(
    platform: Platform,
    who: Principal,
    action: str,
    target: str,
    *,
    reason: str | None = None,
    detail: dict[str, Any] | None = None,
) -> AsyncIterator[None]:
    """Around a deed: written down before it, and again as ``<action>.failed`` when it was not done."""
    await record(platform, who, action, target, reason=reason, detail=detail)
    try:
        yield
    except (AntiphonError, Problem) as error:
        await record(platform, who, f"{action}.failed", target, detail={"error": str(error)})
        raise
