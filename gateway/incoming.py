"""Events over HTTP: CloudEvents in binary or structured mode, or our short form.

CloudEvents 1.0.2, "HTTP Protocol Binding": binary mode has the attributes in ``ce-`` headers
(percent-encoded, §3.1.3.2) and the data as the body; structured mode has all of it in a body of
``application/cloudevents+json``. The short form is JSON with type, data, and optionally id, subject
and correlation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request

from bus.routing import LONGEST_NAME
from contracts.envelope import STRUCTURED, Event
from gateway.bodies import media_type, read_json, read_object
from gateway.platform import Platform
from gateway.problems import Problem
from gateway.text import checked_text
from gateway.trace_context import trace_of

__all__ = ["Draft", "read_draft"]

_ATTRIBUTE = re.compile(r"[a-z0-9]{1,40}")
# What a client may say besides the data; hops, workspaces and replies are ours to set.
_RESERVED = ("flows/", "reactors/")  # below a workspace, or an app that is called like it
_TAKEN_OVER = ("id", "subject", "correlationid", "causationid")


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that was read and checked, and has no id yet unless the client gave one."""

    type: str
    data: Any
    workspace: str
    source: str
    dataschema: str
    attributes: Mapping[str, str]
    trace: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """What makes it the same request again: not the trace, which has a new span for each attempt."""
        return {
            "type": self.type,
            "data": self.data,
            "source": self.source,
            "attributes": dict(self.attributes),
        }

    def event(self, fallback_id: str, at: float) -> Event:
        """The event; ``at`` is in seconds since the epoch."""
        return Event.create(
            self.type,
            self.data,
            id=self.attributes.get("id") or fallback_id,
            source=self.source,
            at=at,
            workspace=self.workspace,
            correlation=self.attributes.get("correlationid"),
            causation=self.attributes.get("causationid"),
            subject=self.attributes.get("subject"),
            dataschema=self.dataschema,
            extensions=self.trace,
        )


async def read_draft(request: Request, platform: Platform, workspace: str) -> Draft:
    """The event in a request, bound to the workspace and checked against its contract.

    The source is made to begin with ``/<workspace>/``, so that nobody can send in another's name.
    Raises Problem, UnknownContract, ContractViolation.
    """
    given, data = await _attributes(request)
    type = given.get("type") or ""
    if type.startswith("antiphon."):
        raise Problem(
            "unknown-contract", f"{type!r} is a message of the platform; choose a type of your own."
        )
    platform.registry.validate(type, data)
    named = given.get("workspace")
    if named and named != workspace:
        raise Problem(
            "workspace-mismatch", f"The event names workspace {named[:80]!r}, and the key is of another."
        )
    attributes = {name: value for name in _TAKEN_OVER if (value := given.get(name))}
    for name, value in {**attributes, "source": given.get("source") or None}.items():
        # The id is the message's, too, and a broker bounds that.
        checked_text(name, value, most_bytes=LONGEST_NAME if name == "id" else 0)
    return Draft(
        type=type,
        data=data,
        workspace=workspace,
        source=_source(workspace, given.get("source")),
        dataschema=platform.registry.contract(type).id,
        attributes=attributes,
        trace=trace_of(given),
    )


async def _attributes(request: Request) -> tuple[dict[str, str], Any]:
    if media_type(request) == STRUCTURED:
        return _structured(await read_json(request, accepted=(STRUCTURED,)))
    binary = {name[3:]: unquote(value) for name, value in request.headers.items() if name.startswith("ce-")}
    if binary:
        _check_cloudevent(binary)
        return binary, await read_json(request)
    members = {"type": str, "data": object, "id": str, "subject": str, "correlation": str}
    document = await read_object(request, members, required=("type",))
    if "data" not in document:
        raise Problem(
            "invalid-parameter",
            "At /data: expected the event's data, got nothing.",
            errors=[{"pointer": "/data", "expected": "the event's data", "got": "nothing"}],
        )
    data = document.pop("data")
    correlation = document.pop("correlation", None)
    attributes = {name: value for name, value in document.items() if value}
    if correlation:
        attributes["correlationid"] = correlation
    if "traceparent" in request.headers:
        attributes["traceparent"] = request.headers["traceparent"]
    return attributes, data


def _structured(document: Any) -> tuple[dict[str, str], Any]:
    if not isinstance(document, dict):
        raise Problem("malformed-event", "The structured event is not a JSON object.")
    if "data_base64" in document:
        raise Problem(
            "malformed-event", "data_base64 is not taken: contracts are about JSON; send it as data."
        )
    data = document.pop("data", None)
    attributes: dict[str, str] = {}
    for name, value in document.items():
        if value is None:
            continue
        if not _ATTRIBUTE.fullmatch(name):
            raise Problem("malformed-event", f"{name[:80]!r} is no name of an attribute: use a-z and 0-9.")
        if isinstance(value, dict | list | float):
            raise Problem("malformed-event", f"Attribute {name!r} is not a string, whole number or boolean.")
        attributes[name] = str(value).lower() if isinstance(value, bool) else str(value)
    _check_cloudevent(attributes)
    return attributes, data


def _check_cloudevent(attributes: dict[str, str]) -> None:
    for name in ("specversion", "type", "source", "id"):
        if not attributes.get(name):
            raise Problem(
                "malformed-event",
                f"The CloudEvent has no {name!r}.",
                errors=[{"pointer": f"/{name}", "expected": "a value", "got": "nothing"}],
            )
    if not attributes["specversion"].startswith("1."):
        raise Problem(
            "malformed-event", f"CloudEvents version {attributes['specversion'][:20]!r} is not 1.x."
        )
    kind = attributes.get("datacontenttype", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            "unsupported-media-type", f"The event's data is {kind[:80]!r}; it must be application/json."
        )


def _source(workspace: str, given: str | None) -> str:
    own = f"/{workspace}/"
    if not given:
        return f"{own}gateway"
    source = given if given.startswith(own) else own + given.lstrip("/")
    if source.startswith(tuple(own + taken for taken in _RESERVED)):
        raise Problem(
            "forbidden",
            f"{source[:80]!r} is where flows and reactors of the platform speak from; name another source.",
        )
    return source
