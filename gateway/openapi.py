"""The OpenAPI document: what FastAPI derives, and what it can't know."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gateway.docs import ProblemError, ProblemView
from gateway.platform import Platform

__all__ = ["describe"]

_ABOUT = """Starts and follows runs of core flows, publishes events to reactors, and shows operators one story
across both.

Every operation but `/healthz` and `/readyz` needs a key: `Authorization: Bearer <key>` or `X-API-Key`. A key
belongs to one workspace and sees nothing of others. Every error is a problem document (RFC 9457) whose `type`
stays the same for good.
"""
_OPEN = ("/healthz", "/readyz")


def describe(app: FastAPI, platform: Platform) -> None:
    """Make ``app.openapi`` give the whole document, with the flows' inputs as examples."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(app, platform)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _complete(app: FastAPI, platform: Platform) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=_version(), description=_ABOUT, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (ProblemError, ProblemView):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needs_key = path not in _OPEN and not (path == "/metrics" and platform.open_metrics)
            operation["security"] = [{"bearer": []}, {"apiKey": []}] if needs_key else []
            # FastAPI's own 422 has a shape that this API never answers with.
            answer = operation["responses"].get("422", {})
            if "HTTPValidationError" in str(answer):
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _flow_inputs(document, platform)
    return document


def _flow_inputs(document: dict[str, Any], platform: Platform) -> None:
    """One example of a request for each flow, from its contract's own examples."""
    body = document["paths"]["/flows/{flow}/runs"]["post"]["requestBody"]["content"]["application/json"]
    examples = {}
    for name in sorted(platform.flows):
        flow = platform.flow(name)
        if flow is None or not platform.registry.has(flow.input_type):
            continue
        for example in platform.registry.contract(flow.input_type).examples[:1]:
            examples[name] = {"value": example}
    body["examples"] = examples or {"a flow": {"value": {"ride_id": "r-1"}}}


def _version() -> str:
    try:
        return version("antiphon")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
