"""Free loopback ports, outside the range the kernel gives to outgoing connections.

A port of that range is no good for a server that is restarted: while it is down, a client that keeps
reconnecting may be given the very port it wants to reach, connect to itself, and block the server's return.
"""

from __future__ import annotations

import random
import socket

from antiphon.devservices.errors import ServiceUnavailable

__all__ = ["accepts", "free_ports"]

FIRST, LAST = 20_000, 30_000


def free_ports(count: int, *, rng: random.Random | None = None) -> list[int]:
    """``count`` different ports that were free on 127.0.0.1 just now."""
    rng = rng or random.SystemRandom()
    found: list[int] = []
    for port in rng.sample(range(FIRST, LAST), 500):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise ServiceUnavailable(f"no {count} free ports between {FIRST} and {LAST} on 127.0.0.1")


def accepts(port: int) -> bool:
    """Whether something listens on that loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
