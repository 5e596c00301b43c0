"""Many pages open at once: a browser has six connections for one gateway, and a live page takes one."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from tests.gateway.dashboard.scene import Scene

pytestmark = pytest.mark.browser

_TURN = """hidden => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def look_away(page: Page, hidden: bool) -> None:
    """As when another tab is chosen; a browser without a window never hides one by itself."""
    await page.evaluate(_TURN, hidden)


async def test_pages_that_nobody_looks_at_keep_no_connection(browser: Browser, scene: Scene) -> None:
    """The seventh page loads; and one that is looked at again is current at once."""
    run = await scene.ride("r-1", flow="refund")
    await scene.until_run(run, waiting="approve")
    async with scene.serving() as base:
        context = await browser.new_context()
        first = await context.new_page()
        await first.goto(f"{base}/ui/runs/{run}")
        await first.get_by_label("API key").fill(scene.keys["operator"])
        await first.keyboard.press("Enter")
        await expect(first.locator("[data-live]")).to_have_text("Live")
        await look_away(first, True)
        for _ in range(6):
            page = await context.new_page()
            await page.goto(f"{base}/ui/runs/{run}", timeout=10_000)
            await expect(page.locator("[data-live]")).to_have_text("Live")
            await look_away(page, True)
        await scene.client.cancel("nyc", run, reason="a test", actor="ann")
        await scene.until_run(run, status="cancelled")
        await look_away(first, False)
        await expect(first.locator("main .badge").first).to_have_text("cancelled")
        await expect(page.locator("main .badge").first).to_have_text("running")
        await context.close()
