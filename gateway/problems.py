"""Problem details (RFC 9457): the one form in which the gateway says that something went wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from contracts.errors import Violation

__all__ = ["KINDS", "PROBLEM_JSON", "URN", "Kind", "Problem", "problem_response", "violations_json"]

PROBLEM_JSON = "application/problem+json"
URN = "urn:antiphon:problem:"

_MOST_ERRORS = 20
_MOST_TEXT, _MOST_DETAIL = 300, 2_000  # characters


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its HTTP status, and a title that is the same every time."""

    status: int
    title: str


# Stable for good: clients switch on ``type``, which is URN + the name here.
KINDS: Mapping[str, Kind] = {
    "malformed-json": Kind(400, "The body is not JSON"),
    "too-deep": Kind(400, "The body is nested too deeply"),
    "malformed-event": Kind(400, "The request is not a CloudEvent"),
    "bad-request": Kind(400, "The request can't be read"),
    "bad-cursor": Kind(400, "The cursor is not one of ours"),
    "unauthenticated": Kind(401, "A valid key is needed"),
    "forbidden": Kind(403, "This key may not do that"),
    "workspace-mismatch": Kind(403, "The request names another workspace than the key's"),
    "not-found": Kind(404, "There is nothing at this address"),
    "unknown-flow": Kind(404, "There is no such flow"),
    "run-not-found": Kind(404, "There is no such run"),
    "story-not-found": Kind(404, "There is no such story"),
    "dead-letter-not-found": Kind(404, "There is no such dead letter"),
    "quarantine-not-found": Kind(404, "There is no such message in quarantine"),
    "key-not-found": Kind(404, "There is no such key"),
    "method-not-allowed": Kind(405, "This address does not take that method"),
    "request-timeout": Kind(408, "The body did not come in time"),
    "start-conflict": Kind(409, "The key belongs to a run with another input"),
    "run-ended": Kind(409, "The run can't take this any more"),
    "not-started": Kind(409, "The run is accepted and not started yet"),
    "not-retryable": Kind(409, "The run can't be retried as asked"),
    "not-migratable": Kind(409, "The run can't be moved to that version"),
    "already-settled": Kind(409, "The dead letter is settled already"),
    "run-purged": Kind(410, "The run ended, and was archived and purged"),
    "too-large": Kind(413, "The body is too large"),
    "unsupported-media-type": Kind(415, "The body's content type is not supported"),
    "contract-violation": Kind(422, "The data does not fit its contract"),
    "unknown-contract": Kind(422, "There is no contract of that type"),
    "invalid-parameter": Kind(422, "A parameter is not valid"),
    "idempotency-reuse": Kind(422, "The idempotency key was used for another request"),
    "too-many-requests": Kind(429, "Too many requests"),
    "internal": Kind(500, "Something went wrong on our side"),
    "bus-unavailable": Kind(503, "The bus can't be reached"),
    "store-unavailable": Kind(503, "The store can't be reached"),
    "live-unavailable": Kind(503, "The live feed can't be reached"),
    "overloaded": Kind(503, "Too much waits already"),
    "too-many-streams": Kind(503, "Too many streams are open"),
}


class Problem(Exception):
    """Raised when a request is answered with a problem. ``kind`` is one of KINDS.

    ``errors`` lists the places that are wrong, 20 of them at the most; ``more`` are extension members
    (RFC 9457 §3.2); ``retry_after`` is in seconds and becomes the header.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        **more: Any,
    ) -> None:
        self.kind = kind
        # What is wrong may be named with all of a body, once for each place: the answer stays small.
        self.detail = _cut(detail, _MOST_DETAIL)
        super().__init__(self.detail)
        self.errors = [
            {name: _cut(said, _MOST_TEXT) if isinstance(said, str) else said for name, said in one.items()}
            for one in errors[:_MOST_ERRORS]
        ]
        self.headers = dict(headers or {})
        self.more = more
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind].status

    def document(self, instance: str | None = None) -> dict[str, Any]:
        """The members of the problem; ``instance`` is the path that was asked."""
        kind = KINDS[self.kind]
        document: dict[str, Any] = {
            "type": URN + self.kind,
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
        }
        if instance:
            document["instance"] = instance
        if self.errors:
            document["errors"] = self.errors
        return {**document, **self.more}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def problem_response(problem: Problem, instance: str | None = None) -> Response:
    """The problem as a response."""
    return Response(
        orjson.dumps(problem.document(instance), default=str),
        status_code=problem.status,
        headers=problem.headers,
        media_type=PROBLEM_JSON,
    )


def violations_json(violations: Sequence[Violation]) -> list[dict[str, str]]:
    """The places where data does not fit, as the ``errors`` member shows them."""
    return [{"pointer": v.pointer, "expected": v.expected, "got": v.got} for v in violations]
