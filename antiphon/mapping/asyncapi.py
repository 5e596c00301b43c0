"""The map as an AsyncAPI 3 document: channels, messages and operations, for other people's tools.

Each event type is a channel (a routing key of the topic exchange), each service a channel of its commands,
and the replies are one. The app sends what its flows and reactors emit and what its steps ask; it receives
what its reactors and flows read and what its services do. https://www.asyncapi.com/docs/reference
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from antiphon.app import App
from antiphon.checking.finding import Spot
from antiphon.checking.system import System
from antiphon.mapping.draft7 import draft7
from bus.port import COMMANDS, EVENTS, PARTITIONS

__all__ = ["asyncapi"]

_VERSION = "3.1.0"
_BINDING = "0.3.0"
_REPLY = "antiphon.reply.v1"
_HEADERS = "cloudevents-headers"
_TEXT = {"type": "string"}


def asyncapi(app: App, *, version: str = "1.0.0") -> dict[str, Any]:
    """The document; ``version`` is the version of the app."""
    system = System(app)
    events = sorted(type for type in {*system.emitted, *system.read} if app.registry.has(type))
    return {
        "asyncapi": _VERSION,
        "id": f"urn:antiphon:app:{_name(app.name)}",
        "info": {
            "title": app.name,
            "version": version,
            "description": "What this app says and hears on RabbitMQ: CloudEvents 1.0 in binary mode.",
        },
        "defaultContentType": "application/json",
        "channels": {
            **{type: _event_channel(app, type) for type in events},
            **{f"commands-{name}": _service_channel(name, types) for name, types in _services(system)},
            **_reply_channel(system),
        },
        "operations": dict(_operations(system, events)),
        "components": {
            "messages": {
                **{type: _message(app, type) for type in _spoken(system, events)},
                **_replies(system),
            },
            "schemas": {**draft7(app.registry.contracts()), _HEADERS: _headers()},
        },
    }


def _services(system: System) -> Iterator[tuple[str, list[str]]]:
    """Each service, of this app or asked by it, with its commands that have contracts."""
    commands: dict[str, set[str]] = {}
    for service, command in system.asked:
        commands.setdefault(service, set()).add(command)
    for one in system.app.services:
        commands.setdefault(one.name, set()).update(one.handlers)
    for name, types in sorted(commands.items()):
        known = sorted(type for type in types if system.app.registry.has(type))
        if known:
            yield name, known


def _spoken(system: System, events: list[str]) -> list[str]:
    return sorted({*events, *(type for _, types in _services(system) for type in types)})


def _reply_types(system: System) -> list[str]:
    handlers = [handler for one in system.app.services for handler in one.handlers.values()]
    return sorted({one.reply for one in handlers if one.reply and system.app.registry.has(one.reply)})


def _event_channel(app: App, type: str) -> dict[str, Any]:
    return {
        "address": type,
        "title": type,
        "description": app.registry.contract(type).description or type,
        "messages": {type: {"$ref": f"#/components/messages/{type}"}},
        "bindings": _exchange(EVENTS, "topic"),
    }


def _service_channel(name: str, types: list[str]) -> dict[str, Any]:
    return {
        "address": name,
        "title": f"Commands to {name}",
        "description": f"What service {name} can be asked to do; the routing key is its name.",
        "messages": {type: {"$ref": f"#/components/messages/{type}"} for type in types},
        "bindings": _exchange(COMMANDS, "direct"),
    }


def _reply_channel(system: System) -> dict[str, Any]:
    types = _reply_types(system)
    if not types:
        return {}
    return {
        "replies": {
            "address": None,
            "title": "Replies",
            "description": "What services answer; the routing key is the replyto of the command.",
            "messages": {f"reply-{type}": {"$ref": f"#/components/messages/reply-{type}"} for type in types},
            "bindings": _exchange(PARTITIONS, "direct"),
        }
    }


def _exchange(name: str, kind: str) -> dict[str, Any]:
    exchange = {"name": name, "type": kind, "durable": True, "autoDelete": False, "vhost": "/"}
    return {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": _BINDING}}


def _message(app: App, type: str) -> dict[str, Any]:
    contract = app.registry.contract(type)
    message = {
        "name": type,
        "title": str(contract.schema.get("title") or type),
        "summary": contract.description or type,
        "contentType": "application/json",
        "headers": {"$ref": f"#/components/schemas/{_HEADERS}"},
        "correlationId": {"location": "$message.header#/cloudEvents:correlationid"},
        "payload": {"$ref": f"#/components/schemas/{type}"},
    }
    examples = [{"name": f"{_name(type)}_{n}", "payload": one} for n, one in enumerate(contract.examples, 1)]
    return {**message, "examples": examples} if examples else message


def _replies(system: System) -> dict[str, Any]:
    return {
        f"reply-{type}": {
            "name": _REPLY,
            "title": f"Reply: {type}",
            "summary": "The outcome of a command: done with its result, refused for good, or failed for now.",
            "contentType": "application/json",
            "headers": {"$ref": f"#/components/schemas/{_HEADERS}"},
            "payload": {
                "type": "object",
                "properties": {
                    "outcome": {"type": "string", "enum": ["done", "refused", "failed"]},
                    "result": {"anyOf": [{"$ref": f"#/components/schemas/{type}"}, {"type": "null"}]},
                    "error": {"type": ["object", "null"], "properties": {"code": _TEXT, "message": _TEXT}},
                    "retry_after": {"type": ["number", "null"]},
                },
                "required": ["outcome"],
            },
        }
        for type in _reply_types(system)
    }


def _headers() -> dict[str, Any]:
    required = ["specversion", "id", "source", "type"]
    others = ["time", "subject", "dataschema", "workspace", "correlationid", "causationid", "traceparent"]
    return {
        "type": "object",
        "description": "The attributes of a CloudEvent (AMQP binding, binary mode), each a header.",
        "properties": {f"cloudEvents:{name}": _TEXT for name in (*required, *others)},
        "required": [f"cloudEvents:{name}" for name in required],
    }


def _operations(system: System, events: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for action, users in (("send", system.emitted), ("receive", system.read)):
        for type in events:
            for what in dict.fromkeys(_who(spot) for spot in users.get(type, ())):
                yield _name(f"{what} {action} {type}"), _operation(action, type, [type], what)
    for (service, command), spots in sorted(system.asked.items()):
        if system.app.registry.has(command):
            for what in dict.fromkeys(_who(spot) for spot in spots):
                operation = _operation("send", f"commands-{service}", [command], what)
                yield (
                    _name(f"{what} ask {service} {command}"),
                    {**operation, **_reply(system, service, command)},
                )
    for one in system.app.services:
        for command in one.handlers:
            if system.app.registry.has(command):
                what = f"service {one.name}"
                operation = _operation("receive", f"commands-{one.name}", [command], what)
                yield _name(f"{what} do {command}"), {**operation, **_reply(system, one.name, command)}


def _operation(action: str, channel: str, messages: list[str], what: str) -> dict[str, Any]:
    verb = {"send": "sends", "receive": "receives"}[action]
    return {
        "action": action,
        "title": f"{what}: {', '.join(messages)}",
        "summary": f"{what} {verb} {', '.join(messages)}",
        "description": f"{what} {verb} {', '.join(messages)}.",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{one}"} for one in messages],
    }


def _reply(system: System, service: str, command: str) -> dict[str, Any]:
    handler = system.handler(service, command)
    if handler is None or handler.reply not in _reply_types(system):
        return {}
    return {
        "reply": {
            "address": {"location": "$message.header#/cloudEvents:replyto"},
            "channel": {"$ref": "#/channels/replies"},
            "messages": [{"$ref": f"#/channels/replies/messages/reply-{handler.reply}"}],
        }
    }


def _who(spot: Spot) -> str:
    """A flow or a reactor, without the node."""
    return spot.what.partition(",")[0]


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", text)
