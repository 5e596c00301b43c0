"""The browser that the dashboard's tests drive."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser


@pytest.mark.browser
async def test_the_browser_renders_and_runs_scripts(browser: Browser) -> None:
    """It is a real Chromium: a page from a real server is laid out and its script runs."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<p id=p>before</p><script>document.getElementById('p').textContent = 1 + 1</script>"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        assert await page.inner_text("#p") == "2"
        assert (await page.screenshot())[:8] == b"\x89PNG\r\n\x1a\n"
        await page.close()
