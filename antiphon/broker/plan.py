"""The plan of a broker: users and what they may do, queues and how they are bound, policies. Pure data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bus.port import EVENTS, Queue
from bus.rabbit import dead_arguments, queue_arguments

__all__ = ["NOTHING", "Permission", "Plan", "Policy", "User", "exactly"]

NOTHING = "^$"  # the regular expression that no name matches


def exactly(*names: str, patterns: Iterable[str] = ()) -> str:
    """An anchored regular expression that matches these names, and what matches one of ``patterns``."""
    parts = [*(re.escape(name) for name in sorted(set(names))), *patterns]
    return f"^(?:{'|'.join(parts)})$" if parts else NOTHING


@dataclass(frozen=True, slots=True)
class Permission:
    """What a user may configure, write and read, as regular expressions of names of queues and exchanges.

    ``topics_written`` and ``topics_read`` are those of routing keys on the exchange of events.
    """

    configure: str
    write: str
    read: str
    topics_written: str
    topics_read: str


@dataclass(frozen=True, slots=True)
class User:
    """One of the broker's users. ``role`` is the process that logs in as it: ``gateway``, ``payments`` …

    ``reaches`` are the queues that its own direct exchange is bound to; it may put messages on them.
    """

    name: str
    role: str
    permission: Permission
    reaches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of all queues whose names match."""

    name: str
    pattern: str
    definition: Mapping[str, int | str]
    priority: int = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a broker must have for an app. ``exchanges`` gives the type of each."""

    vhost: str
    users: tuple[User, ...]
    exchanges: Mapping[str, str]
    queues: tuple[Queue, ...]
    policies: tuple[Policy, ...]
    direct: Mapping[str, str]  # the direct exchange of each user that has one

    def user(self, role: str) -> User:
        """The user of a role. Raises KeyError."""
        for user in self.users:
            if user.role == role:
                return user
        raise KeyError(role)

    def definitions(self) -> dict[str, list[dict[str, Any]]]:
        """The plan in the form of RabbitMQ's definitions; the users without their passwords.

        https://www.rabbitmq.com/docs/definitions
        """
        vhost = self.vhost
        return {
            "vhosts": [{"name": vhost}],
            "users": [{"name": user.name, "tags": ""} for user in self.users],
            "permissions": [_permission(user, vhost) for user in self.users],
            "topic_permissions": [_topics(user, vhost) for user in self.users],
            "policies": [_policy(policy, vhost) for policy in self.policies],
            "exchanges": [_exchange(name, kind, vhost) for name, kind in self.exchanges.items()],
            "queues": [made for queue in self.queues for made in _queues(queue, vhost)],
            "bindings": list(self._bindings()),
        }

    def _bindings(self) -> Iterable[dict[str, Any]]:
        for queue in self.queues:
            for binding in queue.bindings:
                yield _binding(binding.exchange, queue.name, binding.pattern, self.vhost)
        for user in self.users:
            for reached in user.reaches:
                yield _binding(self.direct[user.name], reached, reached, self.vhost)


def _permission(user: User, vhost: str) -> dict[str, Any]:
    may = user.permission
    return {
        "user": user.name,
        "vhost": vhost,
        "configure": may.configure,
        "write": may.write,
        "read": may.read,
    }


def _topics(user: User, vhost: str) -> dict[str, Any]:
    may = user.permission
    # Without an entry a user may use every topic of an exchange that it may use.
    return {
        "user": user.name,
        "vhost": vhost,
        "exchange": EVENTS,
        "write": may.topics_written,
        "read": may.topics_read,
    }


def _policy(policy: Policy, vhost: str) -> dict[str, Any]:
    return {
        "vhost": vhost,
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": "queues",
        "definition": dict(policy.definition),
        "priority": policy.priority,
    }


def _exchange(name: str, kind: str, vhost: str) -> dict[str, Any]:
    same = {"durable": True, "auto_delete": False, "internal": False, "arguments": {}}
    return {"name": name, "vhost": vhost, "type": kind, **same}


def _queues(queue: Queue, vhost: str) -> Iterable[dict[str, Any]]:
    same = {"vhost": vhost, "durable": True, "auto_delete": False}
    yield {"name": f"{queue.name}.dead", **same, "arguments": dict(dead_arguments())}
    yield {"name": queue.name, **same, "arguments": dict(queue_arguments(queue))}


def _binding(exchange: str, queue: str, key: str, vhost: str) -> dict[str, Any]:
    return {
        "source": exchange,
        "vhost": vhost,
        "destination": queue,
        "destination_type": "queue",
        "routing_key": key,
        "arguments": {},
    }
