"""A client for loads: HTTP/1.1 over one kept connection, no more than that, so that it costs little.

httpx takes longer for a request than a bare handler for its answer, and would be most of what is measured.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["Answer", "Connection"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class Connection:
    """One connection to 127.0.0.1, made when it is needed and kept; one request at a time (RFC 9112 §9.3).

    Understands answers with ``Content-Length`` only. Raises OSError and EOFError when the server goes away.
    """

    def __init__(
        self, port: int, headers: Mapping[str, str] | None = None, *, patience: float = 60.0
    ) -> None:
        self._port = port
        self._patience = patience
        given = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._head = f"Host: 127.0.0.1:{port}\r\n{given}".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def get(self, path: str) -> Answer:
        """One GET."""
        return await self._ask(b"GET " + path.encode() + b" HTTP/1.1\r\n" + self._head + b"\r\n")

    async def post(self, path: str, body: bytes) -> Answer:
        """One POST of JSON."""
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        return await self._ask(b"POST " + path.encode() + b" HTTP/1.1\r\n" + self._head + head + body)

    async def _ask(self, request: bytes) -> Answer:
        try:
            async with asyncio.timeout(self._patience):
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
                reader, writer = self._streams
                writer.write(request)
                answer = await _read(reader)
        except BaseException:
            self.close()  # half an answer would be taken for the next one's
            raise
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(first.split(" ", 2)[1]), headers, body)
