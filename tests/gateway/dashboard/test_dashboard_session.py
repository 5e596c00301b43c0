"""Signing in: who gets in, for how long, and what a session may do."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway.dashboard.session import COOKIE, LIFETIME, open_session, read_session
from store.tables import keys
from tests.gateway.dashboard.scene import Scene


def visitor(scene: Scene) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=scene.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://desk.test")


async def test_pages_ask_whoever_is_not_signed_in_to_sign_in(scene: Scene) -> None:
    """The address that was asked for is remembered."""
    async with visitor(scene) as browser:
        for address in ("/", "/ui/"):
            home = await browser.get(address, follow_redirects=False)
            assert home.headers.get("location") == "/ui/overview", address
        answer = await browser.get("/ui/runs?status=stuck")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/ui/login?next=/ui/runs%3Fstatus%3Dstuck"


async def test_a_wrong_key_is_refused_and_sets_nothing(scene: Scene) -> None:
    """The answer says so, in words, with 401."""
    async with visitor(scene) as browser:
        answer = await browser.post("/ui/login", data={"key": "antiphon_nonsense"})
        assert answer.status_code == 401
        assert "not known here" in answer.text
        assert not browser.cookies


async def test_the_cookie_holds_no_key_and_no_script_can_read_it(scene: Scene) -> None:
    """HttpOnly, SameSite=Lax, for the dashboard's paths only, without the secret."""
    async with visitor(scene) as browser:
        answer = await browser.post("/ui/login", data={"key": scene.keys["viewer"], "next": "/ui/runs"})
        assert answer.headers["location"] == "/ui/runs"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Path=/ui" in cookie
        assert scene.keys["viewer"] not in cookie


@pytest.mark.parametrize(
    ("base", "told", "secure"),
    [
        ("http://desk.test", "", False),
        ("https://desk.test", "", True),
        ("http://desk.test", "https", True),
        ("http://desk.test", "HTTPS, http", True),
        ("http://desk.test", "http, https", False),
    ],
)
async def test_the_cookie_is_for_https_where_the_browser_speaks_it(
    scene: Scene, base: str, told: str, secure: bool
) -> None:
    """Also where a proxy on whatever machine does: it says so in X-Forwarded-Proto."""
    transport = httpx.ASGITransport(app=scene.app)
    headers = {"X-Forwarded-Proto": told} if told else {}
    async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as browser:
        answer = await browser.post("/ui/login", data={"key": scene.keys["viewer"]})
        assert ("Secure" in answer.headers["set-cookie"].split("; ")) is secure


@pytest.mark.parametrize(
    "to", ["https://evil.test/", "//evil.test/ui/", "/ui/\\evil", "javascript:alert(1)", "/runs"]
)
async def test_signing_in_leads_to_pages_of_ours_only(scene: Scene, to: str) -> None:
    """An address of somebody else's is replaced by the overview."""
    async with visitor(scene) as browser:
        answer = await browser.post("/ui/login", data={"key": scene.keys["viewer"], "next": to})
        assert answer.headers["location"] == "/ui/overview"


async def test_a_forged_an_old_and_a_revoked_session_are_none(scene: Scene) -> None:
    """The signature covers everything; the end is checked; a revoked key ends its sessions."""
    secret, now = scene.keys["operator"], scene.platform.clock()
    cookie = await scene.database.read(lambda conn: open_session(conn, secret, now=now, pepper=b""))
    assert cookie is not None

    async def session(value: str, at: float = now, pepper: bytes = b"") -> object:
        return await scene.database.read(lambda conn: read_session(conn, value, now=at, pepper=pepper))

    assert await session(cookie) is not None
    id, ends, nonce, signature = cookie.split("~")
    assert await session("~".join((id, str(int(ends) + 1), nonce, signature))) is None
    assert await session("~".join((id, ends, nonce, "0" * 64))) is None
    assert await session("nonsense") is None
    assert await session("~".join((id, "9" * 5_000, nonce, signature))) is None
    assert await session(cookie, at=now + LIFETIME + 1) is None
    assert await session(cookie, pepper=b"another gateway's") is None
    await scene.database.write(
        lambda conn: conn.execute(update(keys).where(keys.c.id == id).values(revoked_at=now))
    )
    assert await session(cookie) is None


async def test_a_browser_that_goes_away_is_no_error_of_ours(scene: Scene) -> None:
    """With half of its form sent; it is answered as if it were there, and nothing is raised for the log."""
    messages = iter([{"type": "http.request", "body": b"key=anti", "more_body": True}])
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"100")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"path": "/ui/login", "raw_path": b"/ui/login", "query_string": b"", "root_path": ""}
    scope |= {"scheme": "http", "headers": headers, "client": None, "server": None}
    await scene.app(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_signing_out_forgets_the_session(scene: Scene) -> None:
    """It is a POST with the token of the session, like every change."""
    async with scene.signed_in("viewer") as browser:
        page = await browser.get("/ui/overview")
        token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        answer = await browser.post("/ui/logout", data={"csrf": token})
        assert answer.headers["location"] == "/ui/login"
        assert COOKIE not in browser.cookies


async def test_a_publishers_key_may_not_look_around(scene: Scene) -> None:
    """Its role reads runs over the API; operations are not its business."""
    async with visitor(scene) as browser:
        await browser.post("/ui/login", data={"key": scene.keys["publisher"]})
        answer = await browser.get("/ui/overview")
        assert answer.status_code == 403
        assert "publisher" in answer.text
