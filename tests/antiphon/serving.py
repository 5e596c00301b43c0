"""A server of HTTP for tests of what asks one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

__all__ = ["Quiet", "serving"]


class Quiet(BaseHTTPRequestHandler):
    """A handler that writes nothing on the test's output."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def serving(handler: type[Quiet]) -> Iterator[int]:
    """The port of a server on loopback whose requests this class handles."""
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
