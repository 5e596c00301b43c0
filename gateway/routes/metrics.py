"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from gateway.auth import may
from gateway.docs import answers
from gateway.gateway import gateway_of
from gateway.numbers import NumbersCollector, gather

__all__ = ["router"]

router = APIRouter(tags=["operations"])
_let_in = may("read operations")


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses=answers({200: (None, "Prometheus' text format")}),
)
async def metrics(request: Request) -> Response:
    """Runs by status, what waits longest, dead letters, queues, partitions: counted in the store and asked
    of the broker now, so every gateway says the same; only latencies, admission and refusals of requests are
    this process's own.
    Runs and dead letters are the key's workspace's. Where the installation has opened its metrics, no key
    is needed and all workspaces are counted together.
    """
    gateway = gateway_of(request)
    workspace = None if gateway.platform.open_metrics else (await _let_in(request)).workspace
    registry = CollectorRegistry()
    registry.register(NumbersCollector(await gather(gateway.platform, workspace)))
    own = (gateway.latency.registry, gateway.admission.registry)
    text = generate_latest(registry) + b"".join(map(generate_latest, own))
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})
