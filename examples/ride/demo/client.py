"""The gateway, as a client sees it: retried where that is safe, and never without end."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

__all__ = ["Gateway", "GatewayGone", "Refused"]

AGAIN = frozenset({408, 429, 500, 502, 503, 504})
SOURCE = "/drivers-app"
# Requests are short, and httpcore looks through all its connections for each: more would be slower.
CONNECTIONS = 20


class GatewayGone(Exception):
    """Raised when the gateway gave no useful answer for as long as we were ready to wait."""


class Refused(Exception):
    """Raised when the gateway says no for good; ``problem`` is its RFC 9457 document."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = problem
        super().__init__(f"{problem.get('status')} {problem.get('title')}: {problem.get('detail')}")


class Gateway:
    """One gateway and one key. Safe to use from many tasks.

    Every call carries what makes it safe to repeat (an idempotency key, or an event's id), so a lost
    answer, a restart or a 503 is answered with another attempt, for ``patience`` seconds.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float = 120.0,
        connections: int = CONNECTIONS,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self._patience = patience
        self._clock = clock
        self._rng = rng
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(30.0),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,  # a proxy has no business between us and the loopback
        )
        self.retried = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def start(self, flow: str, input: Mapping[str, Any], *, key: str) -> dict[str, Any]:
        """Start a run; what the gateway says of it. Raises Refused, GatewayGone."""
        headers = {"Idempotency-Key": key}
        return await self._ask("POST", f"/flows/{flow}/runs", json=dict(input), headers=headers)

    async def publish(
        self, type: str, id: str, data: Mapping[str, Any], *, subject: str, correlation: str
    ) -> None:
        """Publish an event into the story ``correlation``. Raises Refused, GatewayGone."""
        event = {"specversion": "1.0", "id": id, "source": SOURCE, "type": type, "subject": subject}
        more = {"correlationid": correlation, "datacontenttype": "application/json", "data": dict(data)}
        body = json.dumps({**event, **more})
        headers = {"Content-Type": "application/cloudevents+json"}
        await self._ask("POST", "/events", content=body, headers=headers)

    async def run(self, run_id: str) -> dict[str, Any]:
        """One run. Raises Refused, GatewayGone."""
        return await self._ask("GET", f"/runs/{run_id}")

    async def runs(self, flow: str) -> AsyncIterator[dict[str, Any]]:
        """Every run of a flow, newest first, without inputs and results."""
        async for run in self._pages("/runs", {"flow": flow}):
            yield run

    async def dead_letters(self) -> list[dict[str, Any]]:
        """The dead letters that nobody has settled yet."""
        return [letter async for letter in self._pages("/dead-letters", {"status": "dead"})]

    async def redrive(self, letter_id: str, reason: str) -> None:
        """Give a dead letter back to its reactor. One that is settled already is fine."""
        try:
            await self._ask("POST", f"/dead-letters/{letter_id}/redrive", json={"reason": reason})
        except Refused as refused:
            if refused.problem.get("status") != 409:
                raise

    async def ready(self) -> bool:
        """Whether the gateway and all it needs are there, at this moment."""
        try:
            return (await self._http.get("/readyz", timeout=5.0)).status_code == 200
        except httpx.TransportError:
            return False

    async def live(self) -> AsyncIterator[dict[str, Any]]:
        """What happens, as it happens (SSE); connects again by itself and takes up where it was.

        Without end. What it misses is not lost, only not told here: who must know asks for the run.
        """
        last: str | None = None
        while True:
            headers = {"Last-Event-ID": last} if last else {}
            try:
                timeout = httpx.Timeout(10.0, read=60.0)
                async with self._http.stream(
                    "GET", "/events/stream", headers=headers, timeout=timeout
                ) as answer:
                    async for name, text in _sse(answer):
                        if name == "id":
                            last = text
                        elif text.startswith("{"):
                            yield json.loads(text)
            except httpx.TransportError:
                self.retried += 1
            await asyncio.sleep(0.5)

    async def _pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = await self._ask("GET", path, params={**query, "limit": "200", **more})
            for item in page["items"]:
                yield item
            cursor = page.get("next")
            if not cursor:
                return

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        until, pause = self._clock() + self._patience, 0.2
        while True:
            asked: float | None = None
            try:
                answer = await self._http.request(method, path, **request)
                if answer.is_success:
                    return _document(answer)
                if answer.status_code not in AGAIN:
                    raise Refused({"status": answer.status_code, **_document(answer)})
                wait = answer.headers.get("retry-after", "")
                asked = float(wait) if wait.isdigit() else None
                why = f"{answer.status_code} {answer.text[:200]}"
            except httpx.TransportError as error:
                why = repr(error)
            delay = max(asked or 0.0, pause * (0.5 + self._rng()))
            if self._clock() + delay > until:
                raise GatewayGone(f"{method} {path}: no answer for {self._patience:.0f} s; the last: {why}")
            self.retried += 1
            await asyncio.sleep(delay)
            pause = min(pause * 2, 5.0)


def _document(answer: httpx.Response) -> dict[str, Any]:
    if not answer.content:
        return {}
    try:
        document = answer.json()
    except ValueError:
        return {"detail": answer.text[:500]}
    return document if isinstance(document, dict) else {"items": document}


async def _sse(answer: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """The fields ``id`` and ``data`` of a stream, each data line as one (WHATWG HTML, §9.2)."""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(":")
        if name in ("id", "data"):
            yield name, value.removeprefix(" ")
