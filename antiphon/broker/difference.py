"""What a broker lacks of a plan: two documents of definitions, compared."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.errors import ConfigurationError

__all__ = ["Difference", "difference", "password_hash"]

Definitions = Mapping[str, list[dict[str, Any]]]

# What names an object of each kind; the rest of it can be changed, but for those in _FIXED.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "vhosts": ("name",),
    "users": ("name",),
    "permissions": ("vhost", "user"),
    "topic_permissions": ("vhost", "user", "exchange"),
    "policies": ("vhost", "name"),
    "exchanges": ("vhost", "name"),
    "queues": ("vhost", "name"),
    "bindings": ("vhost", "source", "destination", "destination_type", "routing_key"),
}
_FIXED = {"exchanges", "queues"}
_ALGORITHMS = {"rabbit_password_hashing_sha256": "sha256", "rabbit_password_hashing_sha512": "sha512"}
_SALT = 4  # bytes; https://www.rabbitmq.com/docs/passwords#computing-password-hash


@dataclass(frozen=True, slots=True)
class Difference:
    """``changes``: one line each. ``definitions``: what to import; nothing of it is there already.

    ``left_over``: what an earlier version of the app needed, and nobody needs now.
    """

    changes: tuple[str, ...]
    definitions: dict[str, list[dict[str, Any]]]
    left_over: tuple[str, ...]


def difference(
    wanted: Definitions, found: Definitions, passwords: Mapping[str, str], prefix: str
) -> Difference:
    """What of ``wanted`` is not in ``found``.

    ``passwords`` are those that users are to have; a user that is there and not in it keeps its own. The
    names of the app's users begin with ``prefix``. Raises ConfigurationError for what is there in
    another form that can't be changed.
    """
    changes: list[str] = []
    definitions: dict[str, list[dict[str, Any]]] = {}
    for kind, objects in wanted.items():
        there = {_key(kind, each): each for each in found.get(kind, [])}
        for each in objects:
            existing = there.get(_key(kind, each))
            if existing is not None and _same(kind, each, existing, passwords):
                continue
            if existing is not None and kind in _FIXED:
                raise ConfigurationError(
                    f"{_named(kind, each)} exists in another form, which can't be changed: it is "
                    f"{_form(existing)}, and must be {_form(each)}; delete it when it is empty"
                )
            changes.append(f"{'make' if existing is None else 'change'} {_named(kind, each)}")
            definitions.setdefault(kind, []).append(_complete(kind, each, existing, passwords))
    return Difference(tuple(changes), definitions, tuple(_left_over(wanted, found, prefix)))


def password_hash(password: str) -> str:
    """As RabbitMQ keeps it. The salt follows from the password, which is random: again is the same."""
    salt = hashlib.sha256(f"salt {password}".encode()).digest()[:_SALT]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _complete(
    kind: str, each: dict[str, Any], existing: Mapping[str, Any] | None, passwords: Mapping[str, str]
) -> dict[str, Any]:
    if kind != "users":
        return each
    if existing is not None and each["name"] not in passwords:
        return {**existing, **each}
    hashed = password_hash(passwords[each["name"]])
    return {**each, "password_hash": hashed, "hashing_algorithm": "rabbit_password_hashing_sha256"}


def _key(kind: str, each: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(each.get(name) for name in _KEYS[kind])


def _same(
    kind: str, wanted: Mapping[str, Any], found: Mapping[str, Any], passwords: Mapping[str, str]
) -> bool:
    if kind == "users":
        password = passwords.get(wanted["name"])
        if found.get("tags"):  # a list, or a text of older brokers; with one it reaches the management API
            return False
        return password is None or _opens(password, found)
    return all(found.get(name) == value for name, value in wanted.items())


def _opens(password: str, user: Mapping[str, Any]) -> bool:
    """Whether a user of the broker has this password."""
    algorithm = _ALGORITHMS.get(user.get("hashing_algorithm", ""))
    kept = base64.b64decode(user.get("password_hash") or "")
    if algorithm is None or len(kept) <= _SALT:
        return False
    salt, digest = kept[:_SALT], kept[_SALT:]
    return hashlib.new(algorithm, salt + password.encode()).digest() == digest


def _named(kind: str, each: Mapping[str, Any]) -> str:
    if kind == "bindings":
        return f"binding {each['source']} --{each['routing_key']}--> {each['destination']}"
    if kind in ("permissions", "topic_permissions"):
        return f"{kind.replace('_', ' ')} of {each['user']}"
    return (
        f"{kind.removesuffix('ies') + 'y' if kind == 'policies' else kind.removesuffix('s')} {each['name']}"
    )


def _form(each: Mapping[str, Any]) -> str:
    kind = each.get("type") or "queue"
    return f"{kind} {each.get('arguments')}"


def _left_over(wanted: Definitions, found: Definitions, prefix: str) -> list[str]:
    users = {each["name"] for each in wanted["users"]}
    queues = {(each["vhost"], each["name"]) for each in wanted["queues"]}
    bindings = {_key("bindings", each) for each in wanted["bindings"]}
    here = {each["name"] for each in wanted["vhosts"]}
    elsewhere = {each["user"] for each in found.get("permissions", []) if each["vhost"] not in here}
    old = [
        _named("users", each)
        for each in found.get("users", [])
        # Users are the whole broker's: another version of the app in another vhost may need this one.
        if each["name"].startswith(prefix) and each["name"] not in users | elsewhere
    ]
    old += [
        _named("bindings", each)
        for each in found.get("bindings", [])
        if (each["vhost"], each["destination"]) in queues and _key("bindings", each) not in bindings
    ]
    return sorted(old)
