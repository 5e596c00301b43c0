"""Free loopback ports, outside the range the kernel gives to outgoing connections.

A port of that range is no good for a server that is restarted: while it is down, a client that keeps
reconnecting may be given the very port it wants to reach, connect to itself, and block the server's return.

A port that was free is kept: a RabbitMQ node listens on its last port ten seconds after it was chosen, and
until then nothing else would tell two test processes that they chose the same one.
"""

from __future__ import annotations

import random
import socket

from antiphon.devservices.errors import ServiceUnavailable

__all__ = ["accepts", "free_ports"]

FIRST, LAST = 20_000, 30_000

_kept: list[socket.socket] = []  # open until this process ends


def free_ports(count: int, *, rng: random.Random | None = None) -> list[int]:
    """``count`` different ports of 127.0.0.1 that no server has, nor any other caller while we live.

    Servers may take them all the same, as long as they bind with SO_REUSEADDR; all that we start do.
    """
    rng = rng or random.SystemRandom()
    found: list[int] = []
    for port in rng.sample(range(FIRST, LAST), 500):
        if _keep(port):
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


def _keep(port: int) -> bool:
    """Bind without listening: connections are refused as before. False where somebody else has it."""
    holder = socket.socket()
    try:
        holder.bind(("127.0.0.1", port))  # without the option: whoever keeps the port with it is in the way
    except OSError:
        holder.close()
        return False
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _kept.append(holder)
    return True
