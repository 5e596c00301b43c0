"""The secret of the dashboard's sessions is a setting, the same on every gateway; a new one ends them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from antiphon import App, Settings
from antiphon.roles import declare, serving
from antiphon.rooms import open_rooms
from contracts.errors import ConfigurationError
from gateway.dashboard.session import COOKIE

KEY = "a-key-of-an-admin-for-this-test"
FIRST, SECOND = "first-secret-" * 3, "second-secret-" * 3


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTIPHON_SESSION_SECRET", raising=False)


async def visit(home: Path, secret: str | None, cookie: str | None = None) -> tuple[str, int]:
    """A gateway with that secret: the cookie that it gives (or the one that it is shown), and its answer."""
    settings = Settings.load(
        home=home, port=0, admin_key=KEY, signing="off", session_secret=secret, log_level="error"
    )
    app = App(name="secretive")
    async with open_rooms(settings, "up", alone=True) as rooms:
        await declare(app, rooms)
        async with serving(app, rooms) as address, httpx.AsyncClient(base_url=address.url) as browser:
            if cookie is None:
                await browser.post("/ui/login", data={"key": KEY})
                cookie = browser.cookies[COOKIE]
            browser.cookies.set(COOKIE, cookie)
            answer = await browser.get("/ui/overview", follow_redirects=False)
            return cookie, answer.status_code


async def test_sessions_hold_under_one_secret_and_end_with_it(tmp_path: Path) -> None:
    """A restart, or another gateway, with the same secret knows the session; with another or none it asks."""
    cookie, answer = await visit(tmp_path, FIRST)
    assert answer == 200
    assert await visit(tmp_path, FIRST, cookie) == (cookie, 200)
    assert await visit(tmp_path, SECOND, cookie) == (cookie, 303)
    assert await visit(tmp_path, None, cookie) == (cookie, 303)


async def test_without_a_secret_sessions_still_hold_across_restarts(tmp_path: Path) -> None:
    """The digest of the key signs alone; a cookie made that way is nothing to a gateway with a secret."""
    cookie, answer = await visit(tmp_path, None)
    assert answer == 200
    assert await visit(tmp_path, None, cookie) == (cookie, 200)
    assert await visit(tmp_path, FIRST, cookie) == (cookie, 303)


def test_a_short_secret_is_refused_unseen() -> None:
    """Short secrets can be guessed; the error does not print it, and neither do logs."""
    with pytest.raises(ConfigurationError, match=r"ANTIPHON_SESSION_SECRET.*at least 24") as caught:
        Settings.load(session_secret="hunter2")
    assert "hunter2" not in str(caught.value)
    assert FIRST not in repr(Settings.load(session_secret=FIRST))


@pytest.mark.parametrize(("secret", "warned"), [(None, True), (FIRST, False)])
async def test_a_gateway_for_others_says_that_it_has_none(
    tmp_path: Path, secret: str | None, warned: bool
) -> None:
    """Off loopback the log says what to set."""
    settings = Settings.load(
        home=tmp_path, host="0.0.0.0", port=0, admin_key=KEY, signing="off", session_secret=secret
    )
    app = App(name="secretive")
    async with open_rooms(settings, "up", alone=True) as rooms:
        await declare(app, rooms)
        with capture_logs() as said:
            async with serving(app, rooms):
                pass
    assert ("session_secret_unset" in {entry["event"] for entry in said}) is warned
