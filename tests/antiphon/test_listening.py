"""Where the gateway listens."""

from __future__ import annotations

import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from antiphon.listening import listening
from contracts.errors import ConfigurationError

HELLO = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello"))])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_it_answers_where_it_says(host: str) -> None:
    """Port 0 takes a free one, and the address that is told is the real one."""
    async with listening(HELLO, host, 0) as url, httpx.AsyncClient() as client:
        assert (await client.get(url)).text == "hello"


async def test_a_taken_address_is_told_with_what_to_do() -> None:
    """Somebody else has the port: the error names it, and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}: .*ANTIPHON_PORT"):
            async with listening(HELLO, "127.0.0.1", port):
                pass
