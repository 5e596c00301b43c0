"""JSON in: read with limits, refused with the place that is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import orjson
from starlette.requests import Request

from contracts.subschemas import escape, pointer
from gateway.problems import Problem

__all__ = ["media_type", "parse_json", "read_json", "read_object"]

_JSON = ("application/json",)
# What orjson reads as a whole number; one beyond is rounded to a float, without a word.
_LEAST, _GREATEST = -(2**63), 2**64 - 1
# Twenty digits, or a sign and nineteen: the shortest that is beyond. (A regex takes five times as long.)
_DIGITS, _LONG = bytes.maketrans(b"123456789-", b"0" * 10), b"0" * 20
_MOST_ERRORS = 20


def media_type(request: Request) -> str:
    """The body's content type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, *, accepted: Sequence[str] = _JSON) -> Any:
    """The decoded body. Raises Problem: 400, 413 or 415."""
    given = media_type(request)
    if given not in accepted:
        shown = f"The body's content type is {given!r}" if given else "The request has no Content-Type"
        raise Problem(
            "unsupported-media-type",
            f"{shown}; send {' or '.join(accepted)}.",
            headers={"Accept-Post": ", ".join(accepted)},
        )
    return parse_json(await request.body(), request.app.state.gateway.platform.max_depth)


async def read_object(
    request: Request, allowed: dict[str, type], *, required: Sequence[str] = ()
) -> dict[str, Any]:
    """A small JSON object with known members; an empty body is the empty object where none is required.

    Raises Problem: 400, 413, 415 or 422.
    """
    if not await request.body() and not required:
        return {}
    document = await read_json(request)
    errors: list[dict[str, str]] = []
    if not isinstance(document, dict):
        errors.append({"pointer": "", "expected": "an object", "got": _short(document)})
        document = {}
    for name, value in document.items():
        if len(errors) >= _MOST_ERRORS:
            break
        wanted = allowed.get(name)
        place = pointer(name)
        if wanted is None:
            known = ", ".join(allowed)
            errors.append({"pointer": place, "expected": f"one of the members {known}", "got": name})
        elif value is not None and not isinstance(value, wanted):
            expected = {str: "a string", dict: "an object", int: "a whole number"}.get(
                wanted, wanted.__name__
            )
            errors.append({"pointer": place, "expected": expected, "got": _short(value)})
        elif isinstance(value, str) and "\0" in value:  # PostgreSQL has no place for it
            errors.append({"pointer": place, "expected": "text without NUL", "got": _short(value)})
    errors += (
        {"pointer": f"/{name}", "expected": "to be there", "got": "nothing"}
        for name in required
        if document.get(name) in (None, "")
    )
    if errors:
        raise Problem("invalid-parameter", _sentence(errors), errors=errors)
    return document


def parse_json(raw: bytes, max_depth: int) -> Any:
    """JSON text as Python values.

    Raises Problem: 400 for what is no JSON or too deep, 422 for whole numbers that would be altered.
    """
    if not raw:
        raise Problem("malformed-json", "The body is empty; send a JSON document.")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Problem(
            "malformed-json",
            f"{error.msg} at line {error.lineno}, column {error.colno}.",
            position={"line": error.lineno, "column": error.colno},
        ) from error
    # Fewer brackets than the limit can't be too deep: nearly every body is done here.
    if raw.count(b"{") + raw.count(b"[") > max_depth and _deeper(document, max_depth):
        raise Problem("too-deep", f"The body is nested more than {max_depth} deep.")
    if _LONG in raw.translate(_DIGITS):
        errors = list(islice(_altered(json.loads(raw)), _MOST_ERRORS))
        if errors:
            raise Problem("invalid-parameter", _sentence(errors), errors=errors)
    return document


def _altered(document: Any) -> Iterator[dict[str, str]]:
    """Each whole number that orjson does not keep as it is."""
    waiting: list[tuple[str, Any]] = [("", document)]
    for at, value in waiting:
        if isinstance(value, dict | list):
            waiting += (
                (f"{at}/{escape(name)}", child)
                for name, child in (value.items() if isinstance(value, dict) else enumerate(value))
                if isinstance(child, dict | list) or _beyond(child)
            )
        elif _beyond(value):
            expected = "a whole number from -2^63 to 2^64-1, or text"
            yield {"pointer": at, "expected": expected, "got": str(value)[:80]}


def _beyond(value: Any) -> bool:
    return isinstance(value, int) and not _LEAST <= value <= _GREATEST


def _deeper(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit + 1):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _short(value: Any) -> str:
    shown = orjson.dumps(value).decode()
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _sentence(errors: Sequence[dict[str, str]]) -> str:
    first = errors[0]
    return f"At {first['pointer'] or '/'}: expected {first['expected']}, got {first['got']}."
