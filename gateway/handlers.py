"""From an exception to a problem: each error of the tree has one answer, here."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path

from contracts.errors import (
    BusError,
    ContractViolation,
    LetterNotFound,
    LetterSettled,
    LiveUnavailable,
    MalformedMessage,
    NotMigratable,
    PublishFailed,
    RunEnded,
    RunError,
    RunNotFound,
    StoreError,
    TooLarge,
    UnknownContract,
    UnknownFlow,
)
from gateway.problems import KINDS, Problem, problem_response, violations_json
from gateway.queries.page import BadCursor

__all__ = ["install", "problem_of"]

log = structlog.get_logger(__name__)

_SOON = 2.0  # seconds after which a client may try again when a part of the house is away

# The kind of problem that each error is; the most specific class counts.
_KINDS: Mapping[type[Exception], str] = {
    BadCursor: "bad-cursor",
    MalformedMessage: "malformed-event",
    UnknownContract: "unknown-contract",
    RunNotFound: "run-not-found",
    RunEnded: "run-ended",
    UnknownFlow: "unknown-flow",
    NotMigratable: "not-migratable",
    RunError: "not-retryable",
    LetterNotFound: "dead-letter-not-found",
    LetterSettled: "already-settled",
    TooLarge: "too-large",
    BusError: "bus-unavailable",
    LiveUnavailable: "live-unavailable",
    StoreError: "store-unavailable",
}
_BY_STATUS = {401: "unauthenticated", 403: "forbidden", 404: "not-found", 405: "method-not-allowed"}
_BY_STATUS |= {413: "too-large", 415: "unsupported-media-type", 422: "invalid-parameter"}


def problem_of(error: Exception) -> Problem:
    """The problem that an error is; ``internal`` for one that nobody raised on purpose."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ContractViolation):
        return Problem(
            "contract-violation",
            _sentence(str(error)),
            errors=violations_json(error.violations),
            contract=error.contract,
        )
    if isinstance(error, RequestValidationError):
        return _parameters(error)
    if isinstance(error, HTTPException):
        return _http(error)
    if isinstance(error, ClientDisconnect):
        return Problem("bad-request", "The client went away before its body had come.")  # nobody reads this
    if isinstance(error, PublishFailed) and any(isinstance(one, TooLarge) for one in error.errors.values()):
        # Of what is asked for in one request: later it will be as large.
        error = next(one for one in error.errors.values() if isinstance(one, TooLarge))
    for kind in type(error).__mro__:
        if kind in _KINDS:
            name = _KINDS[kind]
            retry_after = _SOON if KINDS[name].status == 503 else None
            return Problem(name, _sentence(str(error)), retry_after=retry_after)
    reference = secrets.token_hex(6)
    log.error("a request failed", reference=reference, exc_info=error)
    return Problem("internal", f"It was logged under the reference {reference}.", reference=reference)


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""
    ours = (Problem, ContractViolation, *_KINDS, Exception)
    kinds = (*ours, RequestValidationError, HTTPException, ClientDisconnect)
    for kind in kinds:
        app.add_exception_handler(kind, _handler())


def _handler() -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            error.headers = {"Allow": _allowed(request) or (error.headers or {}).get("Allow", "")}
        return problem_response(problem_of(error), request.url.path)

    return answer


def _allowed(request: Request) -> str:
    """Every method that the address takes (RFC 9110 §15.5.6); the router knows only the first route's."""
    methods = {
        method.upper()
        for template, operations in request.app.openapi()["paths"].items()
        if compile_path(template)[0].fullmatch(request.url.path)
        for method in operations
    }
    if "GET" in methods:
        methods.add("HEAD")  # see gateway.head
    return ", ".join(sorted(methods))


def _http(error: HTTPException) -> Problem:
    kind = _BY_STATUS.get(error.status_code, "bad-request" if error.status_code < 500 else "internal")
    detail = {
        404: "There is nothing at this address; the document at /openapi.json lists what there is.",
        405: f"Use one of: {(error.headers or {}).get('Allow', '')}.",
    }.get(error.status_code, str(error.detail))
    return Problem(kind, detail, headers=error.headers)


def _parameters(error: RequestValidationError) -> Problem:
    errors: list[dict[str, Any]] = [
        {
            "parameter": ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0]),
            "expected": str(one["msg"]),
            "got": repr(one.get("input"))[:80],
        }
        for one in error.errors()
    ]
    first = errors[0]
    return Problem("invalid-parameter", f"{first['parameter']}: {first['expected']}.", errors=errors)


def _sentence(message: str) -> str:
    text = message[:1].upper() + message[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
