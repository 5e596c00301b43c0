"""What an OpenAPI document must have to be of use."""

from __future__ import annotations

from typing import Any


def problems_of(document: dict[str, Any]) -> list[str]:
    """What is missing in it, one line each."""
    found: list[str] = []
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = f"{method.upper()} {path}"
            found += [
                f"{name} has no {part}"
                for part in ("summary", "description", "tags")
                if not operation.get(part)
            ]
            if operation["security"] and "401" not in operation["responses"]:
                found.append(f"{name} needs a key and does not say 401")
            for status, response in operation["responses"].items():
                found += [f"{name} {status}: {what}" for what in _answer(status, response)]
            body = operation.get("requestBody")
            if method == "post" and not body:
                found.append(f"{name} does not say what it takes")
    references = _references(document)
    found += [f"{name} is not defined" for name in sorted(references - set(schemas))]
    return found


def _answer(status: str, response: dict[str, Any]) -> list[str]:
    if not response.get("description"):
        return ["no description"]
    if status >= "400" and "application/problem+json" not in response.get("content", {}):
        # /readyz answers 503 with the same document as 200.
        return [] if "application/json" in response.get("content", {}) and status == "503" else ["no problem"]
    problem = response.get("content", {}).get("application/problem+json")
    return ["no example"] if problem is not None and not problem["examples"] else []


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = (
            {value["$ref"].removeprefix("#/components/schemas/")}
            if isinstance(value.get("$ref"), str)
            else set()
        )
        return own.union(*map(_references, value.values()))
    if isinstance(value, list):
        return set().union(*map(_references, value))
    return set()
