"""Keys: made, shown once, revoked; and the key that a developer finds on their own machine."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError

from contracts.crash import reached
from contracts.errors import ConfigurationError
from gateway.auth import ROLES, digest
from store.bulk import insert_rows
from store.database import Database
from store.tables import keys

__all__ = [
    "DevelopmentKey",
    "Key",
    "NewKey",
    "check_listen",
    "create_key",
    "ensure_development_key",
    "ensure_key",
    "has_keys",
    "is_loopback",
    "list_keys",
    "revoke_key",
]

DEVELOPMENT = "development"  # the name of a key that was made for loopback
_PREFIX = "antiphon_"
_LEAST = 24  # characters of a secret that somebody else chose


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret, which nobody knows but its owner. Times in seconds since the epoch."""

    id: str
    workspace: str
    role: str
    name: str
    created_at: float
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; the only time that its secret is seen."""

    key: Key
    secret: str


@dataclass(frozen=True, slots=True)
class DevelopmentKey:
    """The key for working on one's own machine. ``created`` is whether it was made just now."""

    secret: str
    path: Path
    created: bool


async def create_key(
    database: Database,
    *,
    workspace: str,
    role: str,
    name: str,
    clock: Callable[[], float],
    secret: str | None = None,
) -> NewKey:
    """Make a key. Raises ConfigurationError for a role that is none or a secret that is too short."""
    if role not in ROLES:
        raise ConfigurationError(f"{role!r} is no role; the roles are: {', '.join(ROLES)}")
    if secret is not None and len(secret) < _LEAST:
        raise ConfigurationError(f"a key of {len(secret)} characters can be guessed; use at least {_LEAST}")
    chosen = secret or _PREFIX + secrets.token_urlsafe(32)
    key = Key(f"k-{secrets.token_hex(6)}", workspace, role, name, clock(), None)
    row = {
        "id": key.id,
        "workspace": workspace,
        "role": role,
        "name": name,
        "secret_digest": digest(chosen),
        "created_at": key.created_at,
        "revoked_at": None,
    }
    reached("gateway.keys.make.before")
    await database.write(lambda conn: insert_rows(conn, keys, [row]))
    reached("gateway.keys.make.after")
    return NewKey(key, chosen)


async def ensure_key(
    database: Database, secret: str, *, workspace: str, role: str, name: str, clock: Callable[[], float]
) -> None:
    """Make a key with a configured secret, unless it is there. Raises ConfigurationError.

    One that was revoked stays so: configuring it again does not bring it back.
    """
    if await database.read(lambda conn: _by_secret(conn, secret)) is not None:
        return
    try:
        await create_key(database, workspace=workspace, role=role, name=name, clock=clock, secret=secret)
    except IntegrityError:  # another gateway that starts now was faster
        if await database.read(lambda conn: _by_secret(conn, secret)) is None:
            raise


def list_keys(conn: Connection, workspace: str) -> list[Key]:
    """The keys of a workspace, newest first, the revoked ones too."""
    query = select(*_COLUMNS).where(keys.c.workspace == workspace)
    return [Key(*row) for row in conn.execute(query.order_by(keys.c.created_at.desc(), keys.c.id))]


def has_keys(conn: Connection) -> bool:
    """Whether there is a key that was not revoked, in any workspace; a development key does not count."""
    query = (
        select(func.count()).select_from(keys).where(keys.c.revoked_at.is_(None), keys.c.name != DEVELOPMENT)
    )
    return bool(conn.execute(query).scalar_one())


def revoke_key(conn: Connection, workspace: str, key_id: str, at: float) -> bool:
    """Revoke a key for good; False when the workspace has none of that id. Again is harmless."""
    there = conn.execute(select(keys.c.id).where(keys.c.id == key_id, keys.c.workspace == workspace)).first()
    conn.execute(
        update(keys)
        .where(keys.c.id == key_id, keys.c.workspace == workspace, keys.c.revoked_at.is_(None))
        .values(revoked_at=at)
    )
    return there is not None


async def ensure_development_key(
    database: Database,
    path: Path,
    *,
    workspace: str,
    clock: Callable[[], float],
    role: str = "admin",
) -> DevelopmentKey:
    """The development key, kept in ``path`` (mode 0600) so that it can be shown again.

    Made when the file is missing, or holds no key that this store knows. For loopback only: see
    ``check_listen``.
    """
    secret = await asyncio.to_thread(_read_secret, path)
    if secret:
        row = await database.read(lambda conn: _by_secret(conn, secret))
        if row is not None and row.revoked_at is None:
            return DevelopmentKey(secret, path, created=False)
    made = await create_key(database, workspace=workspace, role=role, name=DEVELOPMENT, clock=clock)
    await asyncio.to_thread(_write_secret, path, made.secret)
    return DevelopmentKey(made.secret, path, created=True)


def check_listen(host: str, configured: bool) -> None:
    """Raises ConfigurationError when ``host`` is not loopback and no key was configured.

    A development key lies in a file; beyond this machine it would be a password that nobody chose.
    """
    if configured or is_loopback(host):
        return
    raise ConfigurationError(
        f"listening on {host!r} needs a configured key: set ANTIPHON_ADMIN_KEY to a secret of at least "
        f"{_LEAST} characters, or listen on 127.0.0.1"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


_COLUMNS = tuple(keys.c[name] for name in Key.__dataclass_fields__)


def _read_secret(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


def _write_secret(path: Path, secret: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    # Made with its mode, never made first and closed then.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")


def _by_secret(conn: Connection, secret: str) -> Key | None:
    row = conn.execute(select(*_COLUMNS).where(keys.c.secret_digest == digest(secret))).one_or_none()
    return Key(*row) if row is not None else None
