"""Every page, over HTTP against a whole house."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gateway.dashboard.routes import find
from gateway.queries.page import write_cursor
from store.tables import audit, dead_letters
from tests.gateway.dashboard.forms import submit
from tests.gateway.dashboard.scene import WORKSPACE, Scene
from tests.gateway.seeding import letter, put
from tests.gateway.test_gateway_reconciliation import seed

PAGES = ("/ui/overview", "/ui/runs", "/ui/dead-letters", "/ui/reactors", "/ui/audit")


@pytest.mark.parametrize("path", PAGES)
async def test_an_empty_house_has_pages_that_say_so(scene: Scene, path: str) -> None:
    """Nothing has happened yet, and no page is blank or broken."""
    async with scene.signed_in("viewer") as browser:
        page = await browser.get(path)
        assert page.status_code == 200
        assert "<h1>" in page.text


async def test_pages_are_under_a_strict_policy_and_in_no_cache(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only files of ours; no frames; nothing is kept. Also where a page of ours is broken."""

    def broken(*given: object) -> None:
        raise KeyError("a defect of ours")

    monkeypatch.setattr(find, "get_run", broken)
    async with scene.signed_in() as browser:
        assert (await browser.get("/ui/find?q=x")).status_code == 500
        for path in (*PAGES, "/ui/nowhere", "/ui/find?q=x"):
            headers = (await browser.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'self';")
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"


async def test_a_run_shows_its_flow_its_history_and_what_it_waits_for(scene: Scene) -> None:
    """The graph says in words, too, where the run stands."""
    run = await scene.ride("r-1")
    await scene.until_run(run, waiting="trip.ended.v1")
    async with scene.signed_in("viewer") as browser:
        page = (await browser.get(f"/ui/runs/{run}")).text
    assert "authorize_payment (at payments; can be undone): done" in page
    assert "capture_payment (at payments): not reached" in page
    assert "trip_ended: waits for trip.ended.v1" in page
    assert "step completed" in page
    assert re.search(r"Ahead: <span[^>]*>capture_payment, completed<", page)


async def test_the_story_of_a_ride_tells_all_of_it(scene: Scene) -> None:
    """Steps with retries, what came from outside, reactions, the dead letter, and what did not come."""
    run = await scene.ride("r-2-flaky-unlucky")
    await scene.until_run(run, waiting="trip.ended.v1")
    await scene.end_trip("r-2-flaky-unlucky", run)
    await scene.until_run(run, status="completed")
    await scene.until_reaction("receipts", run, "dead", 2)
    await scene.until_reaction("notify", run, "done", 2)
    async with scene.signed_in() as browser:
        page = (await browser.get(f"/ui/stories/{run}")).text
    assert "Done after 3 attempts; the last failure: retryable: every driver near Astoria is busy" in page
    assert re.search(r">since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC<", page)
    assert 'id="outside"' in page
    assert 'id="service-payments"' in page
    assert 'id="reactor-driver_earnings"' in page
    assert "receipts on ride.booked.v1: Given up after 2 attempts: RuntimeError: 550 5.2.2" in page
    assert page.count("/redrive?back=") >= 2
    table = page.partition('id="story-table"')[2]
    for what in ("step failed", "event emitted", "trip.ended.v1", "dead letter"):
        assert what in table


async def test_who_reads_an_older_major_is_expected_to_react_to_it(scene: Scene) -> None:
    """Its queue is bound to that type, too; a reaction to it that does not come is missing."""
    notify = replace(scene.platform.reactors[0], older=("ride.booked.v0",))
    platform = replace(scene.platform, reactors=[notify])
    assert platform.subscriptions()["ride.booked.v0"] == ("notify",)
    assert platform.subscriptions()["ride.booked.v1"] == ("notify",)


async def test_runs_are_found_by_flow_status_key_and_time(scene: Scene) -> None:
    """Each filter narrows the list; nothing matches is said."""
    ride, other = await scene.ride("r-8"), await scene.ride("q-8", flow="refund")
    await scene.until_run(ride, waiting="trip.ended.v1")
    await scene.until_run(other, waiting="approve")
    async with scene.signed_in("viewer") as browser:
        for query, found in (
            ("flow=ride", {ride}),
            ("key=q-8", {other}),
            ("key=r-*", {ride}),
            ("status=running", {ride, other}),
            ("status=completed&status=stuck", set()),
            ("period=15m", {ride, other}),
        ):
            page = (await browser.get(f"/ui/runs?{query}")).text
            assert set(re.findall(r'href="/ui/runs/(\w{26})"', page)) == found, query
        assert "No run matches" in (await browser.get("/ui/runs?key=nobody")).text
        gone = (await browser.get("/ui/runs?flow=no-longer-here")).text
        assert "<option selected>no-longer-here</option>" in gone
        assert (await browser.get("/ui/find?q=r-8")).headers["location"] == f"/ui/runs/{ride}"
        assert (await browser.get(f"/ui/find?q={other}")).headers["location"] == f"/ui/runs/{other}"


async def test_dead_letters_of_one_reactor_are_said_to_be_its_own(scene: Scene) -> None:
    """Where a reactor's line leads: the page says whose letters these are, and stays with it."""
    await put(scene.database, dead_letters, letter("d-1", workspace=WORKSPACE, reactor="receipts"))
    async with scene.signed_in("viewer") as browser:
        page = (await browser.get("/ui/dead-letters?reactor=notify")).text
        assert re.search(r"<h1>Dead letters <span[^>]*>of notify</span></h1>", page)
        assert "No dead letters of notify" in page
        assert 'href="/ui/dead-letters?status=redriven&amp;reactor=notify"' in page
        assert "No dead letters" not in (await browser.get("/ui/dead-letters?reactor=receipts")).text
        assert "All reactors" not in (await browser.get("/ui/dead-letters")).text


async def test_more_groups_than_are_shown_are_said_to_be_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that is not on the page is not taken for one that is not there."""
    monkeypatch.setattr("gateway.dashboard.routes.dead_letters.MOST_GROUPS", 2)
    rows = [letter(f"d-{number}", workspace=WORKSPACE, group_key=f"notify: {number}") for number in range(3)]
    await put(scene.database, dead_letters, *rows)
    async with scene.signed_in("viewer") as browser:
        assert "Only the 2 largest groups are here" in (await browser.get("/ui/dead-letters")).text


async def test_another_workspace_is_not_there(scene: Scene) -> None:
    """Its runs, stories and letters answer 404, as if there were none."""
    run = await scene.ride("r-13-unlucky")
    letter = await scene.dead_letter(run)
    scene.keys["stranger"] = await scene.key("admin", workspace="elsewhere")
    async with scene.signed_in("stranger") as browser:
        for path in (
            f"/ui/runs/{run}",
            f"/ui/stories/{run}",
            f"/ui/dead-letters/{letter}",
            f"/ui/runs/{run}/cancel",
        ):
            assert (await browser.get(path)).status_code == 404, path
        assert run not in (await browser.get("/ui/runs")).text
        assert run not in (await browser.get("/ui/overview")).text


async def test_the_overview_counts_and_says_what_is_wrong(scene: Scene) -> None:
    """Stuck runs with the reason, failure groups, health of what it stands on."""
    stuck = await scene.ride("r-14-stuck")
    await scene.until_run(stuck, status="stuck")
    run = await scene.ride("r-14-unlucky")
    await scene.dead_letter(run)
    async with scene.signed_in("viewer") as browser:
        page = (await browser.get("/ui/overview")).text
    assert "the roster refuses: driver d-0117 is on another ride" in page
    assert "mailbox of rider" in page
    assert "2 of 2 have an owner" in page
    assert re.search(r"Stuck</span><span class=\"value\">1<", page)


async def test_the_audit_page_verifies_its_chain(scene: Scene) -> None:
    """An entry that was changed afterwards is found."""
    run = await scene.ride("r-15", flow="refund")
    await scene.until_run(run, waiting="approve")
    async with scene.signed_in() as browser:
        await submit(browser, f"/ui/runs/{run}/pause", reason="first")
        await submit(browser, f"/ui/runs/{run}/resume", reason="second")
        assert "Every entry follows" in (await browser.get("/ui/audit?verify=1")).text
        await scene.database.write(
            lambda conn: conn.execute(audit.update().where(audit.c.reason == "first").values(reason="forged"))
        )
        assert "does not follow" in (await browser.get("/ui/audit?verify=1")).text


async def test_nonsense_in_an_address_is_a_page_and_no_crash(scene: Scene) -> None:
    """Bad cursors, unknown verbs and NUL characters get 4xx with a sentence."""
    async with scene.signed_in() as browser:
        for path, code in (
            ("/ui/runs?cursor=nonsense", 400),
            ("/ui/audit?cursor=nonsense", 400),
            (f"/ui/audit?cursor={write_cursor(1e300, '')}", 400),
            ("/ui/runs/bulk/explode", 404),
            ("/ui/runs/a%00b", 404),
            ("/ui/stories/a%00b", 404),
            ("/ui/dead-letters/a%00b", 404),
            ("/ui/dead-letters/group/explode", 404),
            ("/ui/runs?status=nonsense&period=for+ever&key=%00", 200),
        ):
            answer = await browser.get(path)
            assert answer.status_code == code, path
            assert "<h1>" in answer.text


async def test_a_correlation_id_may_hold_anything(scene: Scene) -> None:
    """It comes from outside: addresses that hold it are quoted, and nothing of it is markup."""
    odd = 'a/b ?x=1&y#é"<script>alert(1)</script>'
    await scene.client.start(WORKSPACE, "refund", {"ride_id": "r-16"}, start_id="s-16", correlation=odd)
    run = scene.client.run_id(WORKSPACE, "refund", "r-16")
    await scene.until_run(run, waiting="approve")
    async with scene.signed_in() as browser:
        about = await browser.get(f"/ui/runs/{run}")
        address = re.search(r'href="(/ui/stories/[^"]+)" data-story', about.text)
        assert address
        page = await browser.get(address[1])
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert f'sse-connect="{address[1]}/stream?seen=' in page.text
        back = re.search(rf'href="/ui/runs/{run}/cancel\?back=([^"]+)"', page.text)
        assert back
        asked = await browser.get(f"/ui/runs/{run}/cancel?back={back[1]}")
        way_back = re.search(r'name="back" value="([^"]+)"', asked.text)
        assert way_back
        assert 'id="story-table"' in (await browser.get(way_back[1])).text


async def test_the_overview_says_what_is_proved_and_lists_what_is_not(scene: Scene) -> None:
    """Unproven runs stand beside the stuck ones, with the reason."""
    async with scene.signed_in("viewer") as browser:
        assert "No run is stuck" in (await browser.get("/ui/overview")).text
        await seed(scene.database, scene.platform.clock(), WORKSPACE)
        page = (await browser.get("/ui/overview")).text
    assert "nap: its timer is gone - it is set again" in page
    assert re.search(r"\d+ that stood still are proved to go on, \d+ are not", page)
