"""A real Redis on a free port, with its append-only file on."""

from __future__ import annotations

import socket
from pathlib import Path

from antiphon.devservices.packages import find
from antiphon.devservices.ports import free_ports
from antiphon.devservices.process import Command, LocalService, RemoteService

__all__ = ["LocalRedis", "Redis", "RemoteRedis", "find_redis"]


def find_redis() -> Path | None:
    """The ``redis-server`` binary, or its fork's."""
    return find("redis-server") or find("valkey-server")


class Redis:
    """How to reach a server."""

    url: str


class RemoteRedis(RemoteService, Redis):
    """A server that ANTIPHON_TEST_REDIS_URL points at."""

    name = "Redis"
    variable = "ANTIPHON_TEST_REDIS_URL"

    def __init__(self, url: str) -> None:
        self.url = url


class LocalRedis(LocalService, Redis):
    """A server of our own.

    ``tls``: a folder with ``ca.pem``, ``server.pem`` and ``server.key``; then ``tls_url`` is there too, for
    clients that show a certificate of that CA.
    """

    name = "redis"

    def __init__(self, binary: Path, *, tls: Path | None = None) -> None:
        super().__init__()
        self.binary = binary
        self.tls = tls
        self.port, self.tls_port = free_ports(2)
        self.tls_url = f"rediss://localhost:{self.tls_port}/0"
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Command:
        options: list[str | Path] = [
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dir",
            self.folder,
            "--daemonize",
            "no",
        ]
        if self.tls is not None:
            options += ["--tls-port", str(self.tls_port), "--tls-ca-cert-file", self.tls / "ca.pem"]
            options += ["--tls-cert-file", self.tls / "server.pem", "--tls-key-file", self.tls / "server.key"]
        return Command([self.binary, *options, "--appendonly", "yes", "--save", ""])

    def ready(self) -> bool:
        """Whether it answers PING with PONG (RESP); while it loads its file it answers an error."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
