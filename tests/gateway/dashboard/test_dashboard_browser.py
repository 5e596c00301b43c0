"""The dashboard in a real browser, on a real server, over a real house."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect
from sqlalchemy import update

from store.tables import keys
from tests.gateway.dashboard.scene import Scene

pytestmark = pytest.mark.browser

NARROW = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 900}


class Desk:
    """A signed-in browser; ``complaints`` are what its console said: it must say nothing."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context, self.base = context, base
        self.complaints: list[str] = []

    async def page(self) -> Page:
        page = await self.context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "response",
            lambda answer: (
                self.complaints.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
            ),
        )
        return page

    def _listen(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.complaints.append(f"{said.type}: {said.text}")

    async def sign_in(self, secret: str, *, then: str = "/ui/overview") -> Page:
        page = await self.page()
        await page.goto(self.base + then)
        await page.get_by_label("API key").fill(secret)
        await page.keyboard.press("Enter")
        await page.wait_for_url(self.base + then)
        return page


@pytest.fixture
async def desk(browser: Browser, scene: Scene) -> AsyncIterator[Desk]:
    """A browser at a served house; at the end its console must have stayed silent."""
    async with scene.serving() as base:
        context = await browser.new_context(viewport=WIDE)
        desk = Desk(context, base)
        yield desk
        await context.close()
        assert desk.complaints == []


async def test_an_operator_finds_a_run_and_reads_its_story(desk: Desk, scene: Scene) -> None:
    """Sign in, search by key, open the run, follow its story, open a step: why it took so long is there."""
    run = await scene.ride("r-1-flaky")
    await scene.until_run(run, waiting="trip.ended.v1")
    page = await desk.sign_in(scene.keys["operator"])
    await page.get_by_role("link", name="Runs", exact=True).click()
    await page.get_by_label("Key", exact=True).fill("r-1-*")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="ride r-1-flaky").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("r-1-flaky")
    await page.get_by_role("link", name="Story", exact=True).click()
    step = page.locator("details.row", has_text="match_driver")
    await step.locator("summary").click()
    await expect(step).to_contain_text("Done after 3 attempts")
    await expect(step).to_contain_text("every driver near Astoria is busy")


async def test_an_open_story_updates_by_itself(desk: Desk, scene: Scene) -> None:
    """The trip ends; the page says so without a reload, and what was opened stays open."""
    run = await scene.ride("r-2")
    await scene.until_run(run, waiting="trip.ended.v1")
    page = await desk.sign_in(scene.keys["viewer"], then=f"/ui/stories/{run}")
    await expect(page.locator("[data-live]")).to_have_text("Live")
    await page.evaluate("window.loaded = 'once'")
    opened = page.locator("details.row", has_text="quote_fare")
    await opened.locator("summary").click()
    await expect(page.locator("#run-" + run)).not_to_contain_text("capture_payment")
    await scene.end_trip("r-2", run)
    await expect(page.locator("#run-" + run)).to_contain_text("capture_payment")
    await expect(page.locator("main .badge").first).to_have_text("completed")
    await expect(page.locator("#reactor-city_stats")).to_contain_text("ride.completed.v1")
    assert await page.evaluate("window.loaded") == "once"
    assert await opened.get_attribute("open") is not None


async def test_an_open_run_updates_by_itself(desk: Desk, scene: Scene) -> None:
    """The drawing and the table of nodes follow the run."""
    run = await scene.ride("r-3")
    await scene.until_run(run, waiting="trip.ended.v1")
    page = await desk.sign_in(scene.keys["viewer"], then=f"/ui/runs/{run}")
    await expect(page.locator("[data-live]")).to_have_text("Live")
    await scene.end_trip("r-3", run)
    await expect(page.locator("main .badge").first).to_have_text("completed")
    await expect(page.locator(".flow title", has_text="capture_payment (at payments): done")).to_have_count(1)


async def test_an_open_page_of_a_revoked_key_leads_to_the_sign_in(desk: Desk, scene: Scene) -> None:
    """It does not go on to show what it last saw, as if it only had to connect again."""
    run = await scene.ride("r-9", flow="refund")
    await scene.until_run(run, waiting="approve")
    page = await desk.sign_in(scene.keys["viewer"], then=f"/ui/runs/{run}")
    await expect(page.locator("[data-live]")).to_have_text("Live")
    now = scene.platform.clock()
    revoked = update(keys).where(keys.c.role == "viewer").values(revoked_at=now)
    await scene.database.write(lambda conn: conn.execute(revoked) and None)
    await expect(page.get_by_label("API key")).to_be_visible()
    heard = (
        "401",
        "[object Event]",
    )  # that is how it heard of it: the stream ended, and the page was refused
    desk.complaints = [said for said in desk.complaints if not any(part in said for part in heard)]


@pytest.mark.parametrize("kind", ["polled", "streamed"])
async def test_a_page_that_can_not_be_brought_up_to_date_says_so(desk: Desk, scene: Scene, kind: str) -> None:
    """What it shows is from before; once there is an answer again it is current, without a word."""
    run = await scene.ride("r-10")
    await scene.until_run(run, waiting="trip.ended.v1")
    path = "/ui/overview" if kind == "polled" else f"/ui/runs/{run}"
    page = await desk.sign_in(scene.keys["viewer"], then=path)
    if kind == "streamed":
        await expect(page.locator("[data-live]")).to_have_text("Live")
    await page.route(f"**{path}", lambda route: route.fulfill(status=503, body="away"))
    await scene.end_trip("r-10", run)
    await expect(page.locator("#notices")).to_contain_text("the gateway answered 503", timeout=15_000)
    await page.unroute(f"**{path}")
    await expect(page.locator("#notices")).to_be_empty(timeout=15_000)
    desk.complaints = [said for said in desk.complaints if "503" not in said]


async def test_ages_are_right_on_a_computer_whose_clock_is_wrong(desk: Desk, scene: Scene) -> None:
    """It is an hour ahead; the run is as old as the gateway says."""
    run = await scene.ride("r-11", flow="refund")
    await scene.until_run(run, waiting="approve")
    await desk.context.add_init_script("const real = Date.now; Date.now = () => real() + 3600e3;")
    page = await desk.sign_in(scene.keys["viewer"], then=f"/ui/runs/{run}")
    await expect(page.locator("[data-live]")).to_have_text("Live")
    await page.evaluate("document.dispatchEvent(new Event('htmx:afterSettle'))")
    ages = await page.locator("main time[data-at]").all_inner_texts()
    assert ages
    assert all(age == "now" or age.endswith(" s ago") for age in ages), ages


async def test_a_dead_letter_is_redriven_in_its_story(desk: Desk, scene: Scene) -> None:
    """The dialog says what will be touched; after it the finding is gone, and the reaction is done."""
    run = await scene.ride("r-4-unlucky")
    await scene.dead_letter(run)
    page = await desk.sign_in(scene.keys["operator"], then=f"/ui/stories/{run}")
    await expect(page.locator(".findings")).to_contain_text("mailbox of rider")
    scene.faults.mailbox_full = False
    await page.locator(".findings").get_by_role("link", name="Redrive").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Sends this ride.booked.v1 to receipts again, and to nobody else")
    await dialog.get_by_label("Reason").fill("the mailbox was emptied")
    await dialog.get_by_role("button", name="Redrive").click()
    await expect(page.get_by_role("status").first).to_contain_text(
        "Sent the ride.booked.v1 to receipts again."
    )
    await expect(page.locator("main")).not_to_contain_text("Given up")
    await expect(page.locator("#reactor-receipts")).to_contain_text("done")
    await page.get_by_role("link", name="Dead letters").click()
    await expect(page.locator("main")).to_contain_text("No dead letters")


async def test_a_dialog_that_is_closed_does_nothing(desk: Desk, scene: Scene) -> None:
    """Escape, or the way back, and the run goes on."""
    run = await scene.ride("r-5")
    await scene.until_run(run, waiting="trip.ended.v1")
    page = await desk.sign_in(scene.keys["operator"], then=f"/ui/runs/{run}")
    await page.get_by_role("link", name="Pause").click()
    await page.get_by_role("link", name="Keep as it is").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("link", name="Pause").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await scene.until_run(run, status="running")


async def test_a_question_that_gets_no_answer_is_asked_as_a_page(desk: Desk, scene: Scene) -> None:
    """A button that does nothing when it is pushed would be worse than the browser's own error."""
    run = await scene.ride("r-12")
    await scene.until_run(run, waiting="trip.ended.v1")
    page = await desk.sign_in(scene.keys["operator"], then=f"/ui/runs/{run}")
    lost = re.compile(r"/pause\?")
    await page.route(lost, lambda way: way.abort() if "x-ask" in way.request.headers else way.continue_())
    await page.get_by_role("link", name="Pause").click()
    await expect(page.get_by_role("heading", name="Pause ride r-12?")).to_be_visible()
    desk.complaints = [said for said in desk.complaints if "net::ERR_FAILED" not in said]


async def test_all_of_it_works_with_the_keyboard_alone(desk: Desk, scene: Scene) -> None:
    """From signing in to a cancelled run, no mouse is moved."""
    run = await scene.ride("r-6", flow="refund")
    await scene.until_run(run, waiting="approve")
    page = await desk.sign_in(scene.keys["operator"])
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    await page.keyboard.press("g")
    await page.keyboard.press("r")
    await page.wait_for_url("**/ui/runs")
    await page.keyboard.press("j")
    await expect(page.get_by_role("link", name="refund r-6")).to_be_focused()
    await page.keyboard.press("x")
    await expect(page.locator("[data-selected]")).to_have_text("1 selected")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/ui/runs/{run}")
    await page.keyboard.press("s")
    await page.wait_for_url(f"**/ui/stories/{run}")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page.locator("details.row[open]")).to_contain_text("Done at the first attempt.")
    cancel = page.get_by_role("link", name="Cancel").first
    while not await cancel.evaluate("link => link === document.activeElement"):
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_label("Reason")).to_be_focused()
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").first).to_contain_text("to cancel")
    await scene.until_run(run, status="cancelled")
    await expect(page.locator("[data-live]")).to_have_text("Live")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("Keyboard")


async def test_focus_can_always_be_seen(desk: Desk, scene: Scene) -> None:
    """Whatever the keyboard reaches has an outline."""
    page = await desk.sign_in(scene.keys["operator"])
    for _ in range(14):
        await page.keyboard.press("Tab")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", await page.evaluate("document.activeElement.outerHTML")


async def test_no_page_is_wider_than_a_telephone(desk: Desk, scene: Scene) -> None:
    """At 390 pixels nothing scrolls sideways."""
    run = await scene.ride("r-7-flaky-unlucky")
    letter = await scene.dead_letter(run)
    other = await scene.ride("r-7", flow="refund")
    await scene.until_run(other, waiting="approve")
    page = await desk.sign_in(scene.keys["operator"])
    await page.set_viewport_size(NARROW)
    for path in (
        "/ui/overview",
        "/ui/runs",
        f"/ui/runs/{run}",
        f"/ui/runs/{other}",
        f"/ui/stories/{run}",
        "/ui/dead-letters",
        f"/ui/dead-letters/{letter}",
        f"/ui/dead-letters/{letter}/edit",
        "/ui/reactors",
        "/ui/audit",
    ):
        await page.goto(desk.base + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], path


async def test_light_and_dark_can_be_chosen_and_are_kept(desk: Desk, scene: Scene) -> None:
    """The choice outlives the page; without one the system's is followed."""
    page = await desk.sign_in(scene.keys["viewer"])

    async def background() -> str:
        return str(await page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor"))

    light = await background()
    await page.emulate_media(color_scheme="dark")
    dark = await background()
    assert light != dark
    await page.get_by_role("button", name="Switch between light and dark").click()
    assert await background() == light
    await page.reload()
    assert await background() == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_words_can_be_read_on_their_ground(desk: Desk, scene: Scene, scheme: str) -> None:
    """Text and its ground differ by 4.5 to 1 at least (WCAG 2.2, 1.4.3), in both schemes."""
    page = await desk.sign_in(scene.keys["viewer"])
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    tones = ("ok", "info", "warn", "bad", "undo", "quiet")
    pairs = [(f"--{tone}", ground) for tone in tones for ground in ("--surface", f"--{tone}-soft")]
    pairs += [
        (text, ground) for text in ("--text", "--muted", "--accent") for ground in ("--surface", "--bg")
    ]
    pairs += [("--on-accent", "--accent"), ("--accent", "--accent-soft"), ("--muted", "--sunk")]
    values = await page.evaluate(
        "names => names.map(n => getComputedStyle(document.documentElement).getPropertyValue(n).trim())",
        [name for pair in pairs for name in pair],
    )
    for (text, ground), one, other in zip(pairs, values[::2], values[1::2], strict=True):
        assert contrast(one, other) >= 4.5, (text, ground, contrast(one, other))


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2 of two colours like ``#59616e``."""

    def luminance(colour: str) -> float:
        parts = re.fullmatch(r"#(..)(..)(..)", colour)
        assert parts, colour
        red, green, blue = (int(part, 16) / 255 for part in parts.groups())
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


async def test_pages_work_without_a_script(browser: Browser, scene: Scene) -> None:
    """The question is a page of its own then, and the change is made all the same."""
    run = await scene.ride("r-8", flow="refund")
    await scene.until_run(run, waiting="approve")
    async with scene.serving() as base:
        context = await browser.new_context(java_script_enabled=False)
        desk = Desk(context, base)
        page = await desk.sign_in(scene.keys["operator"], then=f"/ui/stories/{run}")
        await page.get_by_role("link", name="Cancel").first.click()
        await page.get_by_label("Reason").fill("no scripts here")
        await page.get_by_role("button", name="Cancel the run").click()
        await page.wait_for_url("**/ui/stories/*")  # a page that is on its way can't be loaded again
        await scene.until_run(run, status="cancelled")
        await page.reload()
        await expect(page.locator("main .badge").first).to_have_text("cancelled")
        await context.close()
    assert desk.complaints == []
