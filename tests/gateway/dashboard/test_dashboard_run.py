"""The page of one run: all of its history counts, however long it is."""

from __future__ import annotations

import re
from typing import Any

import orjson
from sqlalchemy import select

from orchestrator.flow import Flow
from orchestrator.nodes import step
from store.tables import history, purged, runs
from tests.gateway.dashboard import rides
from tests.gateway.dashboard.forms import submit
from tests.gateway.dashboard.scene import WORKSPACE, Scene, until
from tests.gateway.seeding import NOW, fact, put
from tests.gateway.seeding import run as run_row


def told(id: str, seq: int, type: str, node: str | None, **data: Any) -> dict[str, Any]:
    """A fact with its data."""
    return {**fact(id, seq), "type": type, "node": node, "at": NOW + seq, "data": orjson.dumps(data).decode()}


async def test_a_run_stands_where_its_newest_fact_says_however_long_its_history(scene: Scene) -> None:
    """Thousands of retries; the step is done now, and the newest facts are those that are listed."""
    facts = [told("long", 1, "run_started", None)]
    error = {"code": "retryable", "message": "busy"}
    for attempt in range(1, 1_200):
        facts.append(told("long", 2 * attempt, "step_scheduled", "match_driver", attempt=attempt))
        failed = {"attempt": attempt, "error": error, "retry_at": NOW}
        facts.append(told("long", 2 * attempt + 1, "step_failed", "match_driver", **failed))
    facts.append(told("long", 2_400, "step_completed", "match_driver", attempt=1_200))
    await put(scene.database, runs, run_row("long", "running", workspace=WORKSPACE, seq=2_400))
    await scene.database.write(lambda conn: conn.execute(history.insert(), facts) and None)
    async with scene.signed_in("viewer") as browser:
        page = (await browser.get("/ui/runs/long")).text
    assert re.search(
        r"<span class=\"mono\">match_driver</span>\s*</td>\s*<td[^>]*><span class=\"badge tone-ok", page
    )
    assert "the newest 2 000 facts of 2 400" in page
    assert 'id="fact-2400"' in page
    assert 'id="fact-400"' not in page


async def test_what_a_new_run_takes_over_is_not_ahead_of_it(scene: Scene) -> None:
    """It begins at its last node: the results before are those of the old run, and nothing else will run."""
    old = await scene.ride("r-2", flow="refund")
    await scene.until_run(old, waiting="approve")
    query = select(runs.c.id).where(runs.c.linked_from == old, runs.c.status == "completed")

    async def made() -> str | None:
        return await scene.database.read(lambda conn: conn.execute(query).scalar())

    async with scene.signed_in() as browser:
        await submit(browser, f"/ui/runs/{old}/cancel")
        await scene.until_run(old, status="cancelled")
        await submit(browser, f"/ui/runs/{old}/retry", from_node="refunded")
        page = (await browser.get(f"/ui/runs/{await until(made, 'the new run')}")).text
    assert "Taken over from the run that this one was made from." in page
    assert re.search(r"quote_fare[^:]*: done", page)
    assert re.search(r"notify_bank[^:]*: not taken", page)
    assert "Not reached:" not in page


async def test_a_purged_run_is_said_to_have_been(scene: Scene) -> None:
    """How it ended and when it went, not that it may begin yet; of another workspace's nothing is said."""
    row = {"status": "completed", "ended_at": NOW, "purged_at": NOW + 86_400}
    await put(scene.database, purged, {"run_id": "old", "workspace": WORKSPACE, **row})
    await put(scene.database, purged, {"run_id": "theirs", "workspace": "globex", **row})
    async with scene.signed_in("viewer") as browser:
        assert (await browser.get("/ui/find?q=old")).headers["location"] == "/ui/runs/old"
        said = "The run old ended completed on 2023-11-14, and was purged with its story on 2023-11-15."
        for place in ("runs", "stories"):
            page = await browser.get(f"/ui/{place}/old")
            assert page.status_code == 410
            assert said in page.text
            assert (await browser.get(f"/ui/{place}/theirs")).status_code == 404


async def test_a_run_that_goes_back_has_nothing_ahead(scene: Scene) -> None:
    """What it has not reached it never will."""
    run = await scene.ride("r-3-stuck")
    await scene.until_run(run, status="stuck")
    async with scene.signed_in("viewer") as browser:
        page = (await browser.get(f"/ui/runs/{run}")).text
    assert re.search(r"Not reached: <span[^>]*>dispatch,", page)
    assert "Ahead:" not in page


async def test_a_story_leads_to_each_of_its_runs_and_acts_on_the_newest(scene: Scene) -> None:
    """The old run is history once a new one was made from it: it is that one that can be retried."""
    old = await scene.ride("r-4-declined")
    await scene.until_run(old, status="compensated")
    new = await scene.client.retry(WORKSPACE, old, reason="", actor="ann")
    await scene.until_run(new, status="compensated")
    async with scene.signed_in() as browser:
        page = (await browser.get(f"/ui/stories/{old}")).text
    assert set(re.findall(r'class="open" href="/ui/runs/(\w+)"', page)) == {old, new}
    assert set(re.findall(r"/ui/runs/(\w+)/retry", page)) == {new}
    assert "ride r-4-declined is compensated, and was run again: card_declined" in page


async def test_a_new_run_is_offered_to_begin_where_it_can(scene: Scene) -> None:
    """At nodes of the version that ran, in no branch, and not behind what was undone."""
    later = Flow("ride", version=2, key="ride_id", input="ride.requested.v1", steps=[step(rides.dispatch)])
    scene.platform.flows["ride"].append(later)
    undone = await scene.ride("r-5-declined")
    await scene.until_run(undone, status="compensated")
    whole = await scene.ride("r-5", flow="refund")
    await scene.until_run(whole, waiting="approve")
    await scene.client.signal(WORKSPACE, whole, "approve", {}, signal_id="s-1", actor="ann")
    await scene.until_run(whole, status="completed")
    async with scene.signed_in() as browser:
        for run, nodes in (
            (undone, ["", "quote_fare", "match_driver"]),
            (whole, ["", "quote_fare", "large?", "approval", "both", "refunded"]),
        ):
            asked = (await browser.get(f"/ui/runs/{run}/retry")).text
            assert re.findall(r'<option value="([^"]*)">', asked) == nodes
