"""Fills in the dashboard's forms as a browser would, without one."""

from __future__ import annotations

import re
from typing import Any

import httpx
from sqlalchemy import select

from store.tables import audit
from tests.gateway.dashboard.scene import Scene


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found, page.text[:500]
    return found[1]


async def submit(browser: httpx.AsyncClient, path: str, **values: Any) -> httpx.Response:
    """Ask, then do what was asked, as the form says."""
    asked = await browser.get(path)
    assert asked.status_code == 200, asked.text
    return await send(browser, asked, path, **values)


async def send(browser: httpx.AsyncClient, asked: httpx.Response, path: str, **values: Any) -> httpx.Response:
    """Do what a question asked, as its form says."""
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.text)
    form: dict[str, Any] = {}
    for name, value in hidden:
        form.setdefault(name, []).append(value)
    return await browser.post(path.partition("?")[0], data={**form, **values})


async def deeds(scene: Scene) -> list[tuple[str, str, str | None]]:
    query = select(audit.c.action, audit.c.target, audit.c.reason).order_by(audit.c.seq)
    return [tuple(row) for row in await scene.database.read(lambda conn: conn.execute(query).all())]
