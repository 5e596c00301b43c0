"""The demo's client repeats what is safe to repeat, and never without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from examples.ride.demo.client import Gateway, GatewayGone, Refused


class Script:
    """A real HTTP server that answers with what it was told, one answer a request; None cuts the line."""

    def __init__(self, *answers: tuple[int, dict[str, str], str] | None) -> None:
        self.answers = list(answers)
        self.heard: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(v) for n, v in _headers(head) if n == "content-length"), 0)
        body = (await reader.readexactly(length)).decode()
        self.heard.append(head + body)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            status, headers, text = answer
            lines = [f"HTTP/1.1 {status} -", f"content-length: {len(text)}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write(("\r\n".join(lines) + "\r\n\r\n" + text).encode())
            await writer.drain()
        writer.close()


def _headers(head: str) -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in head.splitlines()[1:])
    return [(name.lower(), value.strip()) for name, _, value in pairs]


@asynccontextmanager
async def gateway(script: Script, patience: float = 30.0) -> AsyncIterator[Gateway]:
    server = await asyncio.start_server(script.talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Gateway(url, "key", patience=patience, rng=lambda: 0.0) as client:
        yield client


async def test_a_lost_answer_and_a_503_are_asked_again_with_the_same_key() -> None:
    """The gateway can tell that it is the same request: key and body are the same each time."""
    script = Script(None, (503, {}, "{}"), (202, {}, '{"id": "run-1"}'))
    async with gateway(script) as client:
        assert await client.start("ride", {"ride_id": "a"}, key="a") == {"id": "run-1"}
        assert client.retried == 2
    assert len(script.heard) == 3
    assert {heard.partition("\r\n\r\n")[2] for heard in script.heard} == {'{"ride_id":"a"}'}
    assert all("idempotency-key: a\r\n" in heard.lower() for heard in script.heard)


async def test_a_refusal_is_not_asked_again() -> None:
    """What the gateway refuses for good is handed on with its problem document."""
    problem = json.dumps({"title": "The data does not fit its contract", "status": 422})
    script = Script((422, {"content-type": "application/problem+json"}, problem))
    async with gateway(script) as client:
        with pytest.raises(Refused, match="does not fit") as refused:
            await client.start("ride", {}, key="a")
    assert refused.value.problem["status"] == 422
    assert len(script.heard) == 1


async def test_a_gateway_that_stays_away_is_given_up() -> None:
    """Patience ends, and the error says what the last answer was."""
    script = Script((503, {"retry-after": "60"}, "nobody home"))
    async with gateway(script, patience=1.0) as client:
        with pytest.raises(GatewayGone, match="nobody home"):
            await client.run("run-1")
    assert len(script.heard) == 1


async def test_a_dead_letter_that_is_settled_already_is_fine() -> None:
    """A redrive whose answer was lost is answered with 409 the second time."""
    script = Script((409, {}, '{"title": "The dead letter is settled already", "status": 409}'))
    async with gateway(script) as client:
        await client.redrive("letter-1", "the portal is back")
    assert len(script.heard) == 1


async def test_the_live_stream_goes_on_where_it_was() -> None:
    """After a cut it comes back with the id of the last entry that it has seen."""
    stream = {"content-type": "text/event-stream"}
    first = 'id: 7\nevent: fact\ndata: {"run": "a", "type": "wait_started"}\n\n'
    second = 'id: 8\n\nid: 9\nevent: fact\ndata: {"run": "a", "type": "run_completed"}\n\n'
    script = Script((200, stream, first), (200, stream, second))
    async with gateway(script) as client:
        live = client.live()
        seen = [await anext(live), await anext(live)]
        await live.aclose()  # type: ignore[attr-defined]
    assert [entry["type"] for entry in seen] == ["wait_started", "run_completed"]
    assert "last-event-id" not in script.heard[0].lower()
    assert "last-event-id: 7\r\n" in script.heard[1].lower()
