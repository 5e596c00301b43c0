"""Keys of a workspace, for its admins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from contracts.crash import reached
from contracts.envelope import timestamp
from gateway.audit import record
from gateway.auth import ROLES, Principal, may
from gateway.bodies import read_object
from gateway.docs import answers, json_body
from gateway.gateway import gateway_of, platform_of
from gateway.keys import Key, create_key, list_keys, revoke_key
from gateway.problems import Problem
from gateway.responses import Json
from gateway.shapes import optional_time
from gateway.text import checked_text

__all__ = ["router"]

router = APIRouter(tags=["keys"])

Admin = Annotated[Principal, Depends(may("manage keys"))]


class KeyView(BaseModel):
    """A key without its secret."""

    id: str
    workspace: str
    role: str
    name: str
    created_at: str
    revoked_at: str | None


class KeyList(BaseModel):
    """All keys of the workspace, newest first."""

    items: list[KeyView]


class KeyMade(KeyView):
    """A key just made."""

    secret: str = Field(description="Shown this once; only its digest is kept")


@router.get("/keys", summary="List keys", responses=answers({200: (KeyList, "The keys")}))
async def list_all(request: Request, who: Admin) -> Response:
    """The keys of the workspace, the revoked ones too; never their secrets."""
    found = await platform_of(request).database.read(lambda conn: list_keys(conn, who.workspace))
    return Json({"items": [_view(key) for key in found]})


@router.post(
    "/keys",
    summary="Make a key",
    status_code=201,
    responses=answers(
        {201: (KeyMade, "The key, with its secret")},
        ("malformed-json", "unsupported-media-type", "invalid-parameter"),
    ),
    openapi_extra=json_body(
        "Role and name",
        schema={
            "type": "object",
            "required": ["role", "name"],
            "properties": {"role": {"enum": list(ROLES)}, "name": {"type": "string", "maxLength": 200}},
            "additionalProperties": False,
        },
        examples={"for a program": {"role": "publisher", "name": "booking service"}},
    ),
)
async def create(request: Request, who: Admin) -> Response:
    """Makes a key of the same workspace. Its secret is in this answer and nowhere else."""
    body = await read_object(request, {"role": str, "name": str}, required=("role", "name"))
    if body["role"] not in ROLES:
        expected = ", ".join(ROLES)
        raise Problem(
            "invalid-parameter",
            f"There is no role {body['role'][:40]!r}; the roles are: {expected}.",
            errors=[{"pointer": "/role", "expected": expected, "got": body["role"][:80]}],
        )
    checked_text("name", body["name"])
    platform = platform_of(request)
    await record(platform, who, "key.create", f"key/{body['name']}", detail={"role": body["role"]})
    made = await create_key(
        platform.database,
        workspace=who.workspace,
        role=body["role"],
        name=body["name"],
        clock=platform.clock,
    )
    headers = {"Location": f"/keys/{made.key.id}", "Cache-Control": "no-store"}
    return Json({**_view(made.key), "secret": made.secret}, status_code=201, headers=headers)


@router.delete(
    "/keys/{key_id}",
    summary="Revoke a key",
    status_code=204,
    responses=answers(
        {204: (None, "It is revoked; every gateway has noticed within seconds")}, ("key-not-found",)
    ),
)
async def revoke(request: Request, key_id: str, who: Admin) -> Response:
    """Revokes a key for good. Again is harmless."""
    gateway = gateway_of(request)
    platform = gateway.platform
    known = await platform.database.read(lambda conn: list_keys(conn, who.workspace))
    if not any(key.id == key_id for key in known):
        raise Problem("key-not-found", f"This workspace has no key {key_id[:80]!r}.")
    await record(platform, who, "key.revoke", f"key/{key_id}")
    at = platform.clock()
    reached("gateway.routes.keys.revoke.before")
    await platform.database.write(lambda conn: revoke_key(conn, who.workspace, key_id, at))
    reached("gateway.routes.keys.revoke.after")
    gateway.keyring.forget(key_id)
    return Response(status_code=204)


def _view(key: Key) -> dict[str, Any]:
    return {
        **asdict(key),
        "created_at": timestamp(key.created_at),
        "revoked_at": optional_time(key.revoked_at),
    }
