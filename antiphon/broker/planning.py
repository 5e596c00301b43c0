"""From an app to the plan of its broker: each role may do what it has to, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from antiphon.app import App
from antiphon.broker.plan import Permission, Plan, Policy, User, exactly
from bus.dead import dead_name
from bus.port import COMMANDS, EVENTS, PARTITIONS, Queue
from bus.rabbit import delay_prefix, direct_name
from bus.routing import EXCHANGES
from contracts.errors import ConfigurationError
from orchestrator.nodes import Command, Emit, Step
from orchestrator.runtime import queues_of

__all__ = ["Limits", "plan_of"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
_UNLIMITED = (
    2**31 - 1
)  # a dead queue has no place to put what was delivered too often: RabbitMQ would drop it


@dataclass(frozen=True, slots=True)
class Limits:
    """``deliveries`` of one message until the broker moves it to the dead queue; messages and bytes of one
    queue, above which publishes are refused (and made again later, by whoever keeps them)."""

    deliveries: int = 50
    messages: int = 1_000_000
    bytes: int = 4 * 1024**3
    dead_messages: int = 100_000
    dead_bytes: int = 1024**3


def plan_of(
    app: App,
    *,
    vhost: str,
    partitions: int,
    may: Mapping[str, Iterable[str]] | None = None,
    limits: Limits | None = None,
) -> Plan:
    """What a broker needs for ``app``.

    ``may``: event types that a role may publish beside what is known of it; the name of no role is that of a
    producer outside the house, which gets a user of its own. Raises ConfigurationError.
    """
    if not _NAME.fullmatch(app.name):
        raise ConfigurationError(
            f"the app's name {app.name!r} begins the names of users: up to 60 of a-z, 0-9, _ and -"
        )
    more = {role: sorted(set(types)) for role, types in (may or {}).items()}
    _check_types(app, more)
    users = tuple(_users(app, partitions, more))
    direct = {user.name: direct_name(user.name) for user in users if user.reaches}
    return Plan(
        vhost=vhost,
        users=users,
        exchanges={**EXCHANGES, **dict.fromkeys(direct.values(), "direct")},
        queues=tuple(_all_queues(app, partitions)),
        policies=_policies(limits or Limits()),
        direct=direct,
    )


def _all_queues(app: App, partitions: int) -> list[Queue]:
    return [
        *queues_of(app.catalog, partitions),
        *(reactor.queue() for reactor in app.reactors),
        *(service.queue() for service in app.services),
    ]


def _users(app: App, partitions: int, may: Mapping[str, list[str]]) -> Iterable[User]:
    events, emitted = _events(app), _emitted(app)
    calling = queues_of(app.catalog, partitions)
    reacting = [reactor.queue() for reactor in app.reactors]
    everywhere = tuple(queue.name for queue in _all_queues(app, partitions))

    def user(role: str, topics: Iterable[str], exchanges: Iterable[str], **more: object) -> User:
        named = may.get(role, [])
        writes = [*exchanges, *([EVENTS] if named else [])]
        return _user(app, role, [*topics, *named], writes, **more)  # type: ignore[arg-type]

    # To show how queues stand it must have some right on each (RabbitMQ 4.2.6): writing to a queue is binding
    # it, which takes reading an exchange too, and it reads none.
    yield user("gateway", events, [EVENTS, PARTITIONS, *everywhere], reaches=everywhere)
    # It delays, too: what is of a version of the app that it is not goes to the end of its queue for a while.
    yield user("orchestrator", emitted, [EVENTS, COMMANDS, PARTITIONS], consumes=calling, delays=True)
    # ctx.emit holds a reactor to what it declares; one that declares nothing may say all that no flow says.
    said = {type for r in app.reactors for type in (events - emitted if r.emits is None else r.emits)}
    yield user("reactors", said, [EVENTS], consumes=reacting, delays=True)
    yield user("operator", [], [], reaches=everywhere)
    known = {"gateway", "orchestrator", "reactors", "operator"}
    for service in app.services:
        if service.name in known:
            raise ConfigurationError(
                f"the service {service.name!r} is called like a role; give it another name"
            )
        yield user(service.name, [], [PARTITIONS], consumes=[service.queue()], delays=True)
    for producer in sorted(set(may) - known - {service.name for service in app.services}):
        if not _NAME.fullmatch(producer):
            raise ConfigurationError(f"{producer!r} is no name for a user: up to 60 of a-z, 0-9, _ and -")
        yield user(producer, [], [])


def _user(
    app: App,
    role: str,
    topics: Iterable[str],
    exchanges: Iterable[str],
    *,
    consumes: Iterable[Queue] = (),
    reaches: tuple[str, ...] = (),
    delays: bool = False,
) -> User:
    name, queues = f"{app.name}.{role}", list(consumes)
    mine = [each for queue in queues for each in (queue.name, dead_name(queue.name))]
    reaches = (*reaches, *mine)
    tiers = [re.escape(delay_prefix(name)) + "[0-9]+ms"] if delays else []
    own = [direct_name(name)] if reaches else []
    bound = [b.pattern for queue in queues for b in queue.bindings if b.exchange == EVENTS]
    permission = Permission(
        configure=exactly(patterns=tiers),
        write=exactly(*exchanges, *own, patterns=tiers),
        read=exactly(*mine, patterns=tiers),
        topics_written=exactly(*topics),
        topics_read=exactly(*bound),
    )
    return User(name, role, permission, reaches)


def _emitted(app: App) -> set[str]:
    """The events that flows emit."""
    nodes = [place.node for flow in app.flows for place in flow.plan.places.values()]
    nodes += [node for flow in app.flows for node in flow.plan.on_failure]
    return {node.type for node in nodes if isinstance(node, Emit)}


def _events(app: App) -> set[str]:
    """Every contract that may be an event's: what is a command, its reply or a flow's input is none."""
    used = _emitted(app) | set(app.catalog.awaited())
    used |= {type for reactor in app.reactors for type in (*reactor.types, *(reactor.emits or ()))}
    other = {flow.input_type for flow in app.flows}
    for service in app.services:
        for handler in service.handlers.values():
            other |= {handler.type} | ({handler.reply} if handler.reply else set())
    for flow in app.flows:
        for name, place in flow.plan.places.items():
            node = place.node
            if isinstance(node, Step):
                commands = [each for each in (node.command, node.compensate) if isinstance(each, Command)]
                result = flow.result_type(name)
                other |= {command.type for command in commands} | ({result} if result else set())
    return used | (set(app.registry.types()) - other)


def _check_types(app: App, may: Mapping[str, list[str]]) -> None:
    for role, types in may.items():
        for type in types:
            if not app.registry.has(type):
                raise ConfigurationError(
                    f"{role} can't be let publish {type!r}: the app has no such contract"
                )


def _policies(limits: Limits) -> tuple[Policy, ...]:
    """A queue follows one policy only, so each has everything. Refused for being too long is not lost: the
    publisher has no confirm, and the outbox, the retry or the caller keeps it."""
    ours = r"(?:orchestrator\.events|(?:partition|reactor|service)\.[^.]+)"
    full = {"overflow": "reject-publish"}
    safe = {**full, "dead-letter-strategy": "at-least-once"}
    size = {"max-length": limits.messages, "max-length-bytes": limits.bytes}
    dead = {"max-length": limits.dead_messages, "max-length-bytes": limits.dead_bytes}
    return (
        Policy("antiphon.queues", f"^{ours}$", {"delivery-limit": limits.deliveries, **size, **safe}),
        Policy("antiphon.dead", rf"^{ours}\.dead$", {"delivery-limit": _UNLIMITED, **dead, **full}),
        Policy("antiphon.delays", r"^antiphon\.delay\.", {"delivery-limit": _UNLIMITED, **size, **safe}),
    )
