"""The application: everything put together."""

from __future__ import annotations

from fastapi import FastAPI

from gateway.admission import Admission, Admit
from gateway.auth import Keyring
from gateway.gateway import Gateway
from gateway.handlers import install
from gateway.head import Head
from gateway.limits import BodyLimit, RateLimit
from gateway.observe import Latency, Observe
from gateway.openapi import describe
from gateway.platform import Platform
from gateway.queries.runs import get_runs
from gateway.routes import (
    actions,
    dead_letters,
    events,
    flows,
    health,
    keys,
    metrics,
    migrations,
    quarantine,
    reconciliation,
    runs,
    stories,
)
from gateway.sse import Streams
from reactors.dead_letters import DeadLetters

__all__ = ["create_gateway", "end_streams"]

_REFUSALS_PER_SECOND = 10.0  # wrong keys from one address
_REFUSALS_AT_ONCE = 100.0


def create_gateway(platform: Platform) -> FastAPI:
    """The gateway over this platform. Nothing is started or closed here: that is the caller's."""
    app = FastAPI(title="Antiphon", docs_url=None, redoc_url=None, telemetry={"tracing": False})
    latency = Latency()
    admission = Admission(
        platform.client.unstarted,
        most=platform.max_waiting,
        most_unstarted=platform.max_unstarted,
        longest=platform.longest_unstarted,
    )
    app.state.gateway = Gateway(
        platform=platform,
        dead_letters=DeadLetters(platform.database, platform.bus, platform.registry),
        keyring=Keyring(platform.database, platform.clock, platform.key_cache_seconds),
        rates=RateLimit(
            platform.live,
            name="requests",
            rate=platform.requests_per_second,
            burst=platform.request_burst,
        ),
        refusals=RateLimit(
            platform.live, name="refusals", rate=_REFUSALS_PER_SECOND, burst=_REFUSALS_AT_ONCE
        ),
        streams=Streams(platform.max_streams),
        latency=latency,
        admission=admission,
        lookups=platform.database.group_read(get_runs),
    )
    rooms = (
        runs,
        actions,
        migrations,
        flows,
        events,
        stories,
        dead_letters,
        quarantine,
        reconciliation,
        keys,
    )
    for part in (*rooms, health, metrics):
        app.include_router(part.router)
    install(app)
    app.add_middleware(Head)
    app.add_middleware(BodyLimit, most=platform.max_body_bytes)
    app.add_middleware(Admit, admission=admission, most_body=platform.max_body_bytes)
    app.add_middleware(Observe, latency=latency)
    describe(app, platform)
    return app


def end_streams(app: FastAPI) -> None:
    """End the streams that are open, before the server is told to stop."""
    gateway: Gateway = app.state.gateway
    gateway.streams.end()
