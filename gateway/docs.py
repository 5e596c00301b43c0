"""Pieces of the OpenAPI document that many operations share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from gateway.problems import KINDS, PROBLEM_JSON, URN

__all__ = ["IDEMPOTENCY", "LAST_EVENT_ID", "PREFER", "ProblemError", "ProblemView", "answers", "json_body"]

# What any operation that needs a key can answer.
_ALWAYS = ("unauthenticated", "forbidden", "too-many-requests", "internal", "store-unavailable", "overloaded")

IDEMPOTENCY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Makes a repeat of the request harmless: it gets the answer of the first one.",
    "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
}
PREFER: Mapping[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "`wait=N` waits up to N seconds for the result (RFC 7240).",
    "example": "wait=10",
}
LAST_EVENT_ID: Mapping[str, Any] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The id of the last event that was received: what came after it is sent first.",
}


class ProblemError(BaseModel):
    """One place that is wrong."""

    pointer: str | None = Field(default=None, description="JSON Pointer (RFC 6901) into the body")
    parameter: str | None = Field(default=None, description="The parameter or header, where it is one")
    expected: str
    got: str


class ProblemView(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="A URN that is the same for each problem of its kind")
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[ProblemError] | None = None


def answers(
    good: Mapping[int, tuple[type[BaseModel] | None, str]], *problems: Sequence[str], keyed: bool = True
) -> dict[int | str, dict[str, Any]]:
    """The responses of an operation: what it answers, and each problem, with an example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for status, (model, description) in good.items():
        responses[status] = {"description": description}
        if model is not None:
            responses[status]["model"] = model
    kinds = [kind for group in problems for kind in group]
    if "too-large" in kinds:  # it has a body, which may come too slowly as well
        kinds.append("request-timeout")
    by_status: dict[int, list[str]] = {}
    for kind in [*kinds, *(_ALWAYS if keyed else ("internal",))]:
        by_status.setdefault(KINDS[kind].status, []).append(kind)
    for status, names in sorted(by_status.items()):
        responses[status] = {
            "description": "; ".join(KINDS[name].title for name in dict.fromkeys(names)),
            "content": {
                PROBLEM_JSON: {
                    "schema": {"$ref": "#/components/schemas/ProblemView"},
                    "examples": {name: {"value": _example(name)} for name in dict.fromkeys(names)},
                }
            },
        }
    return responses


def json_body(
    description: str,
    *,
    schema: Mapping[str, Any] | None = None,
    examples: Mapping[str, Any] | None = None,
    required: bool = True,
) -> dict[str, Any]:
    """A request body of JSON, for ``openapi_extra``."""
    content: dict[str, Any] = {"schema": dict(schema or {"type": "object"})}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {
        "requestBody": {
            "description": description,
            "required": required,
            "content": {"application/json": content},
        }
    }


def _example(kind: str) -> dict[str, Any]:
    return {
        "type": URN + kind,
        "title": KINDS[kind].title,
        "status": KINDS[kind].status,
        "detail": KINDS[kind].title + ".",
    }
