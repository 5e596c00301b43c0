"""What every request handler can reach."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from gateway.admission import Admission
from gateway.auth import Keyring
from gateway.limits import RateLimit
from gateway.observe import Latency
from gateway.platform import Platform
from gateway.queries.runs import Run
from gateway.sse import Streams
from reactors.dead_letters import DeadLetters
from store.writer import GroupCommit

__all__ = ["Gateway", "gateway_of", "platform_of"]


@dataclass(frozen=True, slots=True)
class Gateway:
    """The platform, and what the gateway itself remembers: nothing that must last."""

    platform: Platform
    dead_letters: DeadLetters
    keyring: Keyring
    rates: RateLimit
    refusals: RateLimit
    streams: Streams
    latency: Latency
    admission: Admission
    lookups: GroupCommit[tuple[str, str], Run | None]  # runs by workspace and id, for many at once


def gateway_of(request: Request) -> Gateway:
    """The gateway that handles this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def platform_of(request: Request) -> Platform:
    """The rooms below."""
    return gateway_of(request).platform
