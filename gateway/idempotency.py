"""Idempotency keys: the same request twice has one effect and one answer.

A key is stored before the work, per workspace, with a digest of the request; the answer is added
when there is one. The ids of everything that the work sends are derived from the key and the digest,
so when the answer never came to be stored (a crash, a lost connection) the work is simply done again:
what was sent already is the same message, and whoever gets it drops it. So no key stays locked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, delete, select, update
from starlette.requests import Request
from starlette.responses import Response

from contracts.crash import reached
from contracts.envelope import derive_id
from contracts.errors import RunError
from gateway.platform import Platform
from gateway.problems import Problem
from store.bulk import insert_rows
from store.requests import ACCEPTED, CLIENT
from store.tables import idempotency

__all__ = ["REPLAYED", "Attempt", "begin", "mark_accepted", "was_accepted"]

REPLAYED = "Idempotency-Replayed"
_HEADER = "idempotency-key"
_LONGEST = 255
_KEPT_HEADERS = ("location", "content-type", "preference-applied", "retry-after")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request under way: the work is done ``async with`` it.

    ``asked`` is the request's digest; ``id`` names its message; ``replay`` is the answer it had before, if
    any.
    """

    platform: Platform
    workspace: str
    key: str | None
    asked: str
    id: str
    replay: Response | None = None

    async def __aenter__(self) -> None:
        """Around the work: a request that is refused in it gives its key back, for the corrected one."""

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, RunError) or (isinstance(error, Problem) and error.status < 500):
            await self._release()

    async def finish(self, response: Response) -> Response:
        """Keep the answer for a repeat of the request. Raises StoreUnavailable."""
        if self.key is None or response.status_code >= 500:
            return response
        stored = orjson.dumps(
            {
                "headers": {n: v for n, v in response.headers.items() if n in _KEPT_HEADERS},
                "body": bytes(response.body).decode(),
            }
        ).decode()
        work = (
            update(idempotency)
            .where(
                idempotency.c.workspace == self.workspace,
                idempotency.c.key == self.key,
                idempotency.c.status.is_(None),  # the first answer stays
            )
            .values(status=response.status_code, response=stored)
        )
        reached("gateway.idempotency.finish.before")
        await self.platform.database.write(lambda conn: conn.execute(work) and None)
        reached("gateway.idempotency.finish.after")
        return response

    async def _release(self) -> None:
        if self.key is None:
            return
        work = delete(idempotency).where(
            idempotency.c.workspace == self.workspace,
            idempotency.c.key == self.key,
            idempotency.c.request_digest == self.asked,  # not of who has taken it meanwhile
            idempotency.c.status.is_(None),
        )
        reached("gateway.idempotency.release.before")
        await self.platform.database.write(lambda conn: conn.execute(work) and None)
        reached("gateway.idempotency.release.after")


async def begin(request: Request, platform: Platform, workspace: str, document: Any) -> Attempt:
    """Store the request's key, if it has one.

    Raises Problem (400 for a key that is no key, 422 for one that was used for another request) and
    StoreUnavailable.
    """
    given = request.headers.get(_HEADER)
    if given is None:
        return Attempt(platform, workspace, None, "", platform.random_id())
    if not 0 < len(given) <= _LONGEST or not given.isascii() or not given.isprintable():
        raise Problem("bad-request", f"Idempotency-Key must be 1 to {_LONGEST} printable ASCII characters.")
    key = CLIENT + given
    asked = _request_digest(request, document)
    now = platform.clock()
    reached("gateway.idempotency.begin.before")
    row = await platform.database.write(lambda conn: _reserve(conn, workspace, key, asked, now))
    reached("gateway.idempotency.begin.after")
    if row is not None and row["request_digest"] != asked:
        raise Problem(
            "idempotency-reuse",
            "This Idempotency-Key came with another request before (method, path or body differ). "
            "Use a new key for a new request.",
        )
    # The key alone would do for as long as it is kept, and whoever gets the message remembers it for longer.
    id = derive_id("idempotency", workspace, given, asked)
    replay = _replayed(row) if row is not None and row["status"] is not None else None
    return Attempt(platform, workspace, key, asked, id, replay)


async def mark_accepted(platform: Platform, workspace: str, run_id: str, note: dict[str, Any]) -> None:
    """Remember that a run was accepted, so that its address says so until the run is there.

    Raises StoreUnavailable.
    """
    row = {
        "workspace": workspace,
        "key": ACCEPTED + run_id,
        "request_digest": "",
        "created_at": platform.clock(),
        "status": 202,
        "response": orjson.dumps(note).decode(),
    }
    reached("gateway.idempotency.accepted.before")
    await platform.database.write(lambda conn: insert_rows(conn, idempotency, [row], on_conflict="ignore"))
    reached("gateway.idempotency.accepted.after")


def was_accepted(conn: Connection, workspace: str, run_id: str) -> dict[str, Any] | None:
    """What ``mark_accepted`` noted of a run."""
    found = conn.execute(
        select(idempotency.c.response).where(
            idempotency.c.workspace == workspace, idempotency.c.key == ACCEPTED + run_id
        )
    ).scalar_one_or_none()
    note: dict[str, Any] | None = orjson.loads(found) if found is not None else None
    return note


def _request_digest(request: Request, document: Any) -> str:
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode())
    digest.update(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    return digest.hexdigest()


def _reserve(conn: Connection, workspace: str, key: str, asked: str, now: float) -> dict[str, Any] | None:
    """The row that is there already; None when this request made it."""
    row = {
        "workspace": workspace,
        "key": key,
        "request_digest": asked,
        "created_at": now,
        "status": None,
        "response": None,
    }
    mine = select(idempotency).where(idempotency.c.workspace == workspace, idempotency.c.key == key)
    while True:
        if insert_rows(conn, idempotency, [row], on_conflict="ignore", returning=("key",)):
            return None
        there = conn.execute(mine).one_or_none()
        if there is not None:
            return dict(there._mapping)
        # Another gateway has given it back in between, as it refused its request: so it is free.


def _replayed(row: dict[str, Any]) -> Response:
    stored = orjson.loads(row["response"])
    headers = {**stored["headers"], REPLAYED: "true"}
    return Response(stored["body"], status_code=row["status"], headers=headers)
