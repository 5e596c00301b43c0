"""Who asks, and what they may do.

A key is a random secret, bound to one workspace and one role; the store keeps its SHA-256 only (a
256-bit random secret needs no slow hash). It comes as ``Authorization: Bearer …`` or ``X-API-Key``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select
from starlette.datastructures import Headers
from starlette.requests import Request

from gateway.problems import Problem
from store.database import Database
from store.tables import keys

__all__ = ["ABILITIES", "ROLES", "Keyring", "Principal", "digest", "may", "secret_of", "standing"]

ROLES = ("viewer", "publisher", "operator", "admin")

# Who may do what, all of it. A publisher is a program that starts and feeds runs and reads how they
# went; a viewer looks at everything and changes nothing.
ABILITIES: Mapping[str, frozenset[str]] = {
    "read runs": frozenset({"viewer", "publisher", "operator", "admin"}),
    "read operations": frozenset({"viewer", "operator", "admin"}),
    "start runs": frozenset({"publisher", "operator", "admin"}),
    "publish events": frozenset({"publisher", "operator", "admin"}),
    "signal runs": frozenset({"publisher", "operator", "admin"}),
    "act on runs": frozenset({"operator", "admin"}),
    "settle dead letters": frozenset({"operator", "admin"}),
    "manage keys": frozenset({"admin"}),
}

_CACHED = 10_000  # keys, known and unknown together


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a key, the workspace it is bound to, and its role."""

    key_id: str
    workspace: str
    role: str
    name: str

    @property
    def actor(self) -> str:
        """How the audit log names this key."""
        return f"key:{self.key_id} ({self.name})"

    def may(self, ability: str) -> bool:
        """Whether the role has one of ABILITIES."""
        return self.role in ABILITIES[ability]


def digest(secret: str) -> str:
    """What the store keeps of a secret: SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def secret_of(headers: Headers) -> str | None:
    """The secret that a request carries; ``Authorization`` wins over ``X-API-Key``."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return rest.strip()
    return headers.get("x-api-key") or None


class Keyring:
    """Finds keys, with a cache so that a request costs no query.

    A revocation made here counts at once; one made by another process, after ``ttl`` seconds. When an entry
    is too old, all who ask meanwhile are one query: with thousands of requests, a query for each would take
    longer than its answer is good for, and from then on every request would have one.
    """

    def __init__(self, database: Database, clock: Callable[[], float], ttl: float = 2.0) -> None:
        self._lookups = database.group_read(_by_digests)
        self._forgotten = 0  # how often a key was forgotten
        self._clock = clock
        self._ttl = ttl
        self._found: dict[str, tuple[float, Principal | None]] = {}

    async def find(self, secret: str) -> Principal | None:
        """Whose secret this is; None when nobody's. Raises StoreUnavailable."""
        wanted = digest(secret)
        now = self._clock()
        cached = self._found.get(wanted)
        if cached is not None and 0 <= now - cached[0] < self._ttl:
            return cached[1]
        forgotten = self._forgotten
        principal = await self._lookups.submit(wanted)
        if forgotten == self._forgotten:  # else it may be what was true before
            if len(self._found) >= _CACHED:
                self._found.clear()
            self._found[wanted] = (now, principal)
        return principal

    def forget(self, key_id: str) -> None:
        """Look this key up again the next time: it was revoked."""
        self._forgotten += 1
        for wanted, (_, principal) in list(self._found.items()):
            if principal is not None and principal.key_id == key_id:
                del self._found[wanted]


def _by_digests(conn: Connection, wanted: list[str]) -> list[Principal | None]:
    """Whose digests these are, one for each."""
    k = keys.c
    columns = select(k.id, k.workspace, k.role, k.name, k.secret_digest)
    rows = conn.execute(columns.where(k.secret_digest.in_(set(wanted)), k.revoked_at.is_(None)))
    # The index finds by digest, not by secret, so its timing tells nothing of use.
    found = {row.secret_digest: Principal(row.id, row.workspace, row.role, row.name) for row in rows}
    return [found.get(digest) for digest in wanted]


async def authenticate(request: Request) -> Principal:
    """Whose request this is. Raises Problem (401), or StoreUnavailable."""
    secret = secret_of(request.headers)
    gateway = request.app.state.gateway
    keyring: Keyring = gateway.keyring
    principal = await keyring.find(secret) if secret else None
    if principal is None:
        # Guessing costs a query each: slowed down per address, while known keys go on.
        await gateway.refusals.check(request.client.host if request.client else "unknown")
        detail = "No key was given." if not secret else "The key is not known here, or was revoked."
        raise Problem(
            "unauthenticated",
            f"{detail} Send one as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.",
            headers={"WWW-Authenticate": 'Bearer realm="antiphon"'},
        )
    return principal


def standing(request: Request) -> Callable[[], Awaitable[bool]]:
    """A question for later, for what outlasts its request's answer: whether its key still stands."""
    keyring: Keyring = request.app.state.gateway.keyring
    secret = secret_of(request.headers)

    async def stands() -> bool:
        return secret is not None and await keyring.find(secret) is not None

    return stands


def may(ability: str) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that lets in keys with this ability, within their rate limit.

    Raises Problem: 401, 403 or 429.
    """
    roles = ABILITIES[ability]

    async def check(request: Request) -> Principal:
        principal = await authenticate(request)
        if principal.role not in roles:
            needed = ", ".join(role for role in ROLES if role in roles)
            raise Problem(
                "forbidden", f"The key's role is {principal.role}; to {ability}, it must be one of: {needed}."
            )
        await request.app.state.gateway.rates.check(principal.key_id)
        return principal

    return check
