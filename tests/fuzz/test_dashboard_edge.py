"""Whatever a browser sends, on PostgreSQL, which takes less than SQLite: pages or refusals, no crash."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.devservices import Postgres
from tests.fuzz.conftest import LONG
from tests.gateway.dashboard.forms import token_of
from tests.gateway.dashboard.scene import Scene
from tests.logging_kept import silence

CALM = settings(settings.get_profile("long" if LONG else "short"), max_examples=500 if LONG else 80)
PAGES = (
    "/ui/runs",
    "/ui/runs/{}",
    "/ui/runs/{}/cancel",
    "/ui/runs/bulk/cancel",
    "/ui/stories/{}",
    "/ui/dead-letters",
    "/ui/dead-letters/{}",
    "/ui/dead-letters/group/redrive",
    "/ui/quarantine",
    "/ui/quarantine/{}",
    "/ui/audit",
    "/ui/find",
    "/ui/login",
)
QUERIES = (
    "cursor",
    "status",
    "flow",
    "key",
    "from",
    "to",
    "group",
    "reactor",
    "q",
    "id",
    "next",
    "back",
    "page",
)
FORMS = (
    "/ui/runs/{run}/signal",
    "/ui/runs/{run}/pause",
    "/ui/runs/{run}/retry",
    "/ui/runs/bulk/retry",
    "/ui/dead-letters/group/redrive",
    "/ui/dead-letters/group/discard",
    "/ui/login",
)
NAMES = ("name", "data", "reason", "from_node", "id", "key", "back", "next")
ODD = st.text(max_size=40) | st.sampled_from(
    [
        "",
        "\x00",
        "a\x00b",
        "x" * 5_000,
        "☃",
        "NaN",
        "1e999",
        "9" * 5_000,
        "[" * 2_000,
        '"\\ud800"',
        '"\\u0000"',
    ]
)
CODECS = (
    "utf-8",
    "utf-16",
    "utf-7",
    "raw_unicode_escape",
    "punycode",
    "idna",
    "undefined",
    "hex",
    "nobody's",
)


@dataclass
class Desk:
    """A dashboard with a run that waits, a browser that is signed in, and a loop that runs both."""

    runner: asyncio.Runner
    scene: Scene
    browser: httpx.AsyncClient
    run: str
    token: str

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request of the browser."""
        return self.runner.run(self.browser.request(method, path, **more))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Desk]:
    """One desk for all examples."""
    scene = Scene(tmp_path_factory.mktemp("desk"))
    with silence(), asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def begin() -> Desk:
            stack.push_async_callback(scene.close)
            await scene.open(database=postgres.create_database())
            run = await scene.ride("r-1")
            await scene.until_run(run, status="running", waiting="trip")
            browser = await stack.enter_async_context(scene.signed_in("admin"))
            token = token_of(await browser.get(f"/ui/runs/{run}/cancel"))
            return Desk(runner, scene, browser, run, token)

        try:
            yield runner.run(begin())
        finally:
            runner.run(stack.aclose())


@CALM
@given(page=st.sampled_from(PAGES), odd=ODD, query=st.dictionaries(st.sampled_from(QUERIES), ODD, max_size=3))
def test_any_address_is_a_page_or_a_refusal(desk: Desk, page: str, odd: str, query: dict[str, str]) -> None:
    """Ids, filters and cursors of any text, by somebody who is signed in."""
    try:
        answer = desk.send("GET", page.format(quote(odd, safe="")), params=query)
    except httpx.InvalidURL:
        return  # a browser refuses to send it
    assert answer.status_code < 500, (page, odd, query, answer.text)
    sent_to = httpx.URL("http://desk.test").join(answer.headers.get("location", "/ui"))
    assert sent_to.host == "desk.test", "nobody is sent elsewhere"
    assert sent_to.path.startswith("/ui"), sent_to


@CALM
@given(path=st.sampled_from(FORMS), fields=st.dictionaries(st.sampled_from(NAMES), ODD, max_size=4))
def test_any_form_is_done_or_refused(desk: Desk, path: str, fields: dict[str, str]) -> None:
    """Fields of any text, with the right token."""
    answer = desk.send("POST", path.format(run=desk.run), data={"csrf": desk.token, **fields})
    assert answer.status_code < 500, (path, fields, answer.text)
    if any("\x00" in text for text in fields.values()):
        assert answer.status_code in (400, 429), (path, fields)


@CALM
@given(
    path=st.sampled_from(FORMS),
    body=st.binary(max_size=100) | st.sampled_from([b"\\ud800", b"\xff\xfe", b"\\", b"--x\r\n"]),
    wrapped=st.booleans(),
    kind=st.sampled_from(
        ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain"]
    ),
    codec=st.sampled_from(CODECS),
)
def test_any_body_without_the_token_changes_nothing(
    desk: Desk, path: str, body: bytes, wrapped: bool, kind: str, codec: str
) -> None:
    """Bytes under any codec, where the token should be and elsewhere: refused, with a page."""
    name = b"key" if path.endswith("login") else b"csrf"
    if wrapped:
        body = (
            b'--x\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n' + body + b"\r\n--x--\r\n"
        )
    headers = {"content-type": f"{kind}; charset={codec}"}
    answer = desk.send("POST", path.format(run=desk.run), content=body, headers=headers)
    assert answer.status_code in (400, 401, 403, 429), (path, body, headers, answer.text)


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
def test_a_reason_that_can_not_be_kept_is_refused(desk: Desk, verb: str) -> None:
    """The API says so before it does anything: the audit log comes first, and PostgreSQL has no NUL."""
    key = {"Authorization": f"Bearer {desk.scene.keys['admin']}"}
    answer = desk.send("POST", f"/runs/{desk.run}/{verb}", json={"reason": "a\x00b"}, headers=key)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/reason"


@CALM
@given(place=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=120))
def test_a_stream_begins_anywhere_or_refuses(desk: Desk, place: str) -> None:
    """Any Last-Event-ID: replayed, begun anew, or a problem; the stream's first bytes come at once."""
    scope_headers = [
        (b"authorization", f"Bearer {desk.scene.keys['viewer']}".encode()),
        (b"last-event-id", place.encode()),
    ]
    status, body = desk.runner.run(_first_bytes(desk.scene, "/events/stream", scope_headers))
    assert status in (200, 400), (place, body)
    assert body.startswith((b":", b"id:", b"event:")) if status == 200 else b'"status":400' in body


async def _first_bytes(scene: Scene, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """The status and the first bytes of a response without an end; then the client leaves."""
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    left = asyncio.Event()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("desk.test", 80),
    }
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        message = next(asked, None)
        if message is None:
            await left.wait()
            return {"type": "http.disconnect"}
        return message

    async def send(message: Any) -> None:
        await got.put(message)

    async with asyncio.timeout(20):
        task = asyncio.create_task(scene.app(scope, receive, send))
        status = int((await got.get())["status"])
        body = b""
        while not body:
            body = (await got.get()).get("body", b"")
        left.set()
        await task
    return status, body
