"""Who is signed in: an API key, exchanged for a signed cookie that does not hold the key.

The cookie names the key, an end and a random part, signed with HMAC-SHA-256. The signature is keyed
by the digest that the store keeps of the key (and by ``pepper``, where one is set), so a session holds
on every gateway and across restarts, and ends when its key is revoked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, select
from starlette.requests import Request

from gateway.auth import Principal, digest
from store.tables import keys

__all__ = ["COOKIE", "LIFETIME", "Session", "open_session", "read_session", "same_origin"]

COOKIE = "antiphon_session"
LIFETIME = 12 * 3600.0
_SECONDS = re.compile("[0-9]{1,15}")  # thousands of digits are no number to Python


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in principal; ``csrf`` must come with each POST."""

    principal: Principal
    csrf: str

    def may(self, ability: str) -> bool:
        """Whether the role has one of ``gateway.auth.ABILITIES``."""
        return self.principal.may(ability)

    def owns(self, token: object) -> bool:
        """Whether ``token`` is this session's CSRF token."""
        return isinstance(token, str) and hmac.compare_digest(token.encode(), self.csrf.encode())


def open_session(conn: Connection, secret: str, *, now: float, pepper: bytes) -> str | None:
    """The cookie's value for whoever holds ``secret``; None when it is no key of ours."""
    row = conn.execute(
        select(keys.c.id, keys.c.secret_digest).where(
            keys.c.secret_digest == digest(secret), keys.c.revoked_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        return None
    body = f"{row.id}~{int(now + LIFETIME)}~{secrets.token_urlsafe(18)}"
    return f"{body}~{_sign(row.secret_digest, pepper, 'session', body)}"


def read_session(conn: Connection, cookie: str | None, *, now: float, pepper: bytes) -> Session | None:
    """Whose session this cookie is; None when it is forged, over, or its key was revoked."""
    parts = (cookie or "").split("~")
    if len(parts) != 4 or not _SECONDS.fullmatch(parts[1]) or int(parts[1]) < now:
        return None
    row = conn.execute(
        select(keys.c.id, keys.c.workspace, keys.c.role, keys.c.name, keys.c.secret_digest).where(
            keys.c.id == parts[0], keys.c.revoked_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        return None
    body = "~".join(parts[:3])
    expected = _sign(row.secret_digest, pepper, "session", body)
    if not hmac.compare_digest(expected.encode(), parts[3].encode()):
        return None
    csrf = _sign(row.secret_digest, pepper, "csrf", body)
    return Session(Principal(row.id, row.workspace, row.role, row.name), csrf)


def same_origin(request: Request) -> bool:
    """Whether a browser sent this from one of our own pages, as far as it tells (Fetch Metadata, Origin)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


def _sign(secret_digest: str, pepper: bytes, purpose: str, body: str) -> str:
    key = hashlib.sha256(b"antiphon dashboard " + purpose.encode() + b"\0" + pepper).digest()
    inner = hmac.new(key, secret_digest.encode(), hashlib.sha256).digest()
    return hmac.new(inner, body.encode(), hashlib.sha256).hexdigest()
