"""Every action: asked first, done for those who may, written down."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import select

from contracts.errors import BusUnavailable
from store.tables import audit, dead_letters, history, runs
from tests.gateway.dashboard.forms import deeds, send, submit, token_of
from tests.gateway.dashboard.scene import WORKSPACE, Scene, until
from tests.gateway.seeding import NOW, letter, put


async def test_viewers_see_no_buttons_and_may_not_push_them(scene: Scene) -> None:
    """The page has none for them; the address answers 403, and nothing is done."""
    run = await scene.ride("r-3-unlucky")
    letter = await scene.dead_letter(run)
    async with scene.signed_in("viewer") as browser:
        for path in (
            f"/ui/runs/{run}",
            f"/ui/stories/{run}",
            "/ui/dead-letters",
            f"/ui/dead-letters/{letter}",
            "/ui/runs",
        ):
            page = await browser.get(path)
            assert page.status_code == 200
            assert "data-ask" not in page.text
            assert 'name="id"' not in page.text
        token = token_of(await browser.get("/ui/overview"))
        for path in (
            f"/ui/runs/{run}/cancel",
            f"/ui/dead-letters/{letter}/redrive",
            "/ui/dead-letters/group/discard",
            "/ui/runs/bulk/cancel",
        ):
            assert (await browser.get(path)).status_code == 403
            assert (await browser.post(path, data={"csrf": token, "reason": "x"})).status_code == 403
    assert await deeds(scene) == []


async def test_a_change_needs_the_token_and_comes_from_our_own_pages(scene: Scene) -> None:
    """Without the session's token, or from another site, nothing is done; a GET changes nothing."""
    run = await scene.ride("r-4")
    await scene.until_run(run, waiting="trip.ended.v1")
    async with scene.signed_in() as browser:
        asked = await browser.get(f"/ui/runs/{run}/pause")
        token = token_of(asked)
        path = f"/ui/runs/{run}/pause"
        assert (await browser.post(path, data={"reason": "x"})).status_code == 403
        assert (await browser.post(path, data={"csrf": "0" * 64})).status_code == 403
        elsewhere = await browser.post(path, data={"csrf": token}, headers={"Sec-Fetch-Site": "cross-site"})
        assert elsewhere.status_code == 403
        origin = await browser.post(path, data={"csrf": token}, headers={"Origin": "https://evil.test"})
        assert origin.status_code == 403
    assert await deeds(scene) == []
    await scene.until_run(run, status="running")


async def test_a_run_is_paused_resumed_and_cancelled_and_each_is_audited(scene: Scene) -> None:
    """Each asks first, is done, and is written down with its reason."""
    run = await scene.ride("r-5", flow="refund")
    await scene.until_run(run, waiting="approve")
    async with scene.signed_in() as browser:
        assert "Nothing new starts in it" in (await browser.get(f"/ui/runs/{run}/pause")).text
        answer = await submit(browser, f"/ui/runs/{run}/pause?back=/ui/stories/{run}", reason="a look")
        assert answer.headers["location"] == f"/ui/stories/{run}"
        await scene.until_run(run, status="paused")
        await submit(browser, f"/ui/runs/{run}/resume", reason="fine")
        await scene.until_run(run, status="running")
        await submit(browser, f"/ui/runs/{run}/cancel", reason="<b>asked</b>")
        await scene.until_run(run, status="cancelled")
        page = (await browser.get(f"/ui/stories/{run}")).text
        assert "run.cancel" in page
        assert "&lt;b&gt;asked&lt;/b&gt;" in page
        assert "<b>asked</b>" not in page
        again = await submit(browser, f"/ui/runs/{run}/pause")
        assert again.status_code == 422
        assert "Nothing here can take this now" in again.text
    assert await deeds(scene) == [
        ("run.pause", f"run/{run}", "a look"),
        ("run.resume", f"run/{run}", "fine"),
        ("run.cancel", f"run/{run}", "<b>asked</b>"),
    ]


async def test_what_was_not_done_is_not_written_down_as_done(scene: Scene) -> None:
    """A run past its pivot can't be cancelled: alone and among many, the audit says that it was not."""
    run = await scene.ride("r-17")
    await scene.until_run(run, waiting="trip.ended.v1")
    async with scene.signed_in() as browser:
        await submit(browser, f"/ui/runs/{run}/cancel", reason="asked")
        await submit(browser, f"/ui/runs/bulk/cancel?id={run}", reason="all of them")
        for path in (f"/ui/runs/{run}", f"/ui/stories/{run}", "/ui/audit"):
            assert "is past its pivot and only goes forward" in (await browser.get(path)).text, path
    told = [(what, why) for what, target, why in await deeds(scene) if target == f"run/{run}"]
    assert told == [
        ("run.cancel", "asked"),
        ("run.cancel.failed", None),
        ("run.cancel", "all of them"),
        ("run.cancel.failed", None),
    ]


async def test_a_deed_whose_fate_is_not_known_is_said_to_be_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus is away in the middle of it; the page says so, and the audit has the error."""

    async def away(*given: object, **named: object) -> None:
        raise BusUnavailable("no confirm in 5 s")

    run = await scene.ride("r-23", flow="refund")
    await scene.until_run(run, waiting="approve")
    monkeypatch.setattr(scene.client, "pause", away)
    async with scene.signed_in() as browser:
        answer = await submit(browser, f"/ui/runs/{run}/pause")
    assert answer.status_code == 503
    assert "no confirm in 5 s. It is not certain whether this was done." in answer.text
    assert [what for what, _, _ in await deeds(scene)] == ["run.pause", "run.pause.failed"]


async def test_a_run_that_goes_back_is_not_offered_a_cancel_that_changes_nothing(scene: Scene) -> None:
    """It is stuck in its compensation: to retry that helps, to cancel does not, alone or among many."""
    run = await scene.ride("r-21-stuck")
    await scene.until_run(run, status="stuck")
    async with scene.signed_in() as browser:
        for path in (f"/ui/runs/{run}", f"/ui/stories/{run}"):
            page = (await browser.get(path)).text
            assert f"/ui/runs/{run}/retry?back=" in page
            assert f"/ui/runs/{run}/cancel" not in page
        asked = await browser.get(f"/ui/runs/{run}/cancel")
        assert "It is going back already" in asked.text
        assert (await send(browser, asked, f"/ui/runs/{run}/cancel")).status_code == 422
        many = (await browser.get(f"/ui/runs/bulk/cancel?id={run}")).text
        assert "1 of the 1 chosen does not fit" in many
    assert await deeds(scene) == []


async def test_a_signal_is_sent_with_its_data_and_bad_json_is_said(scene: Scene) -> None:
    """The form comes back with what was typed and what is wrong with it."""
    run = await scene.ride("r-6", flow="refund")
    await scene.until_run(run, waiting="approve")
    async with scene.signed_in() as browser:
        asked = await browser.get(f"/ui/runs/{run}/signal", headers={"X-Ask": "dialog"})
        assert '<h2 id="ask-title">' in asked.text
        assert 'value="approve"' in asked.text
        story = f"/ui/stories/{run}"
        wrong = await submit(browser, f"/ui/runs/{run}/signal?back={story}", name="approve", data="{no")
        assert wrong.status_code == 422
        assert f'<a class="button" href="{story}" data-close>' in wrong.text  # back to whence it was asked
        assert '<h1 id="ask-title">' in wrong.text
        assert "The data is not JSON" in wrong.text
        assert "{no" in wrong.text
        await submit(browser, f"/ui/runs/{run}/signal", name="approve", data='{"by": "ann"}')
        await scene.until_run(run, status="completed")


async def test_an_ended_run_is_run_again_as_a_new_one(scene: Scene) -> None:
    """History is never edited: the new run is linked to the old."""
    run = await scene.ride("r-7-declined")
    await scene.until_run(run, status="compensated")
    async with scene.signed_in() as browser:
        assert "A new run with the same input" in (await browser.get(f"/ui/runs/{run}/retry")).text
        await submit(browser, f"/ui/runs/{run}/retry", reason="the bank is back")
        query = select(runs.c.id).where(runs.c.linked_from == run)

        async def linked() -> Any:
            return await scene.database.read(lambda conn: conn.execute(query).scalars().first())

        again = await until(linked, "the new run")
        page = (await browser.get(f"/ui/runs/{run}")).text
        assert f"/ui/runs/{again}" in page


@pytest.mark.parametrize("many", [False, True])
async def test_a_form_that_is_sent_twice_makes_one_new_run(scene: Scene, many: bool) -> None:
    """A button that was pushed twice, or an answer that was lost: the question was the same."""
    run = await scene.ride("r-19-declined")
    await scene.until_run(run, status="compensated")
    path = f"/ui/runs/bulk/retry?id={run}" if many else f"/ui/runs/{run}/retry"
    query = select(history.c.data).where(history.c.run_id == run, history.c.type == "rerun_started")

    async def reasons() -> list[str]:
        found = await scene.database.read(
            lambda conn: conn.execute(query.order_by(history.c.seq)).scalars().all()
        )
        return [orjson.loads(data)["reason"] for data in found]

    async def last() -> bool:
        return "another question" in await reasons()

    async with scene.signed_in() as browser:
        asked = await browser.get(path)
        for _ in range(2):
            assert (await send(browser, asked, path, reason="pushed twice")).status_code == 303
            await until(reasons, "the new run")
        await submit(browser, f"/ui/runs/{run}/retry", reason="another question")
        await until(last, "another run, for another question")
    assert await reasons() == ["pushed twice", "another question"]


async def test_a_run_that_was_made_again_is_not_made_again_unawares(scene: Scene) -> None:
    """It stays ended for good: the question tells of the new one, and a bulk retry leaves it alone."""
    run = await scene.ride("r-22-declined")
    await scene.until_run(run, status="compensated")
    again = await scene.client.retry(WORKSPACE, run, reason="", actor="ann")
    await scene.until_run(again, status="compensated")
    async with scene.signed_in() as browser:
        said = f"A new run was made from it already: {again}, which is compensated."
        assert said in (await browser.get(f"/ui/runs/{run}/retry")).text
        assert "already" not in (await browser.get(f"/ui/runs/{again}/retry")).text
        asked = await browser.get("/ui/runs/bulk/retry?status=compensated&all=1")
        assert "Retry 1 run?" in asked.text
        assert f'name="id" value="{again}"' in asked.text
        assert "1 of the 2 chosen does not fit" in asked.text


async def test_a_signal_form_that_is_sent_twice_sends_one_signal(scene: Scene) -> None:
    """Both times it has the id of its question, by which the run knows it again."""
    run = await scene.ride("r-20", flow="refund")
    await scene.until_run(run, waiting="approve")
    async with scene.signed_in() as browser:
        asked = await browser.get(f"/ui/runs/{run}/signal")
        for _ in range(2):
            await send(browser, asked, f"/ui/runs/{run}/signal", name="other", data="{}")
    query = select(audit.c.detail).where(audit.c.action == "run.signal")
    details = await scene.database.read(lambda conn: conn.execute(query).scalars().all())
    assert len(details) == 2
    assert len(set(details)) == 1


async def test_many_runs_are_cancelled_after_their_count_was_shown(scene: Scene) -> None:
    """Those whose status does not fit are counted and left alone."""
    ids = [await scene.ride(f"r-9-{number}", flow="refund") for number in range(3)]
    done = await scene.ride("r-9-declined")
    for run in ids:
        await scene.until_run(run, waiting="approve")
    await scene.until_run(done, status="compensated")
    async with scene.signed_in() as browser:
        chosen = "&".join(f"id={run}" for run in (*ids, done))
        asked = await browser.get(f"/ui/runs/bulk/cancel?{chosen}")
        assert "Cancel 3 runs" in asked.text
        assert "1 of the 4 chosen does not fit" in asked.text
        answer = await submit(browser, f"/ui/runs/bulk/cancel?{chosen}", reason="a bad deploy")
        assert answer.status_code == 303
        for run in ids:
            await scene.until_run(run, status="cancelled")
        assert "Cancel was asked of 3 runs." in (await browser.get("/ui/runs")).text
        assert "Cancel was asked of 3 runs." not in (await browser.get("/ui/runs")).text
        every = await browser.get("/ui/runs/bulk/retry?flow=refund&all=1")
        assert "Retry 3 runs" in every.text


async def test_a_dead_letter_is_shown_and_redriven(scene: Scene) -> None:
    """Its message, its error and its traceback are there; sent again, it is done and gone from the list."""
    run = await scene.ride("r-10-unlucky")
    letter = await scene.dead_letter(run)
    async with scene.signed_in() as browser:
        groups = (await browser.get("/ui/dead-letters")).text
        assert "RuntimeError" in groups
        page = (await browser.get(f"/ui/dead-letters/{letter}")).text
        assert "r-10-unlucky" in page
        assert "Traceback" in page
        scene.faults.mailbox_full = False
        await submit(browser, f"/ui/dead-letters/{letter}/redrive", reason="the mailbox was emptied")
        await scene.until_reaction("receipts", run, "done")
        assert "No dead letters" in (await browser.get("/ui/dead-letters")).text
        assert "redriven" in (await browser.get(f"/ui/dead-letters/{letter}")).text
        again = await submit(browser, f"/ui/dead-letters/{letter}/redrive")
        assert again.status_code == 303
        assert "Not done" in (await browser.get("/ui/audit")).text
    assert ("redrive", "the mailbox was emptied") in [(what, why) for what, _, why in await deeds(scene)]


async def test_of_two_operators_the_second_is_told_that_a_letter_is_settled(scene: Scene) -> None:
    """Both have the question open; one discards the letter, and the other hears that it was done before."""
    run = await scene.ride("r-18-unlucky")
    letter = await scene.dead_letter(run)
    async with scene.signed_in() as ann, scene.signed_in("admin") as bob:
        asked = await bob.get(f"/ui/dead-letters/{letter}/discard")
        await submit(ann, f"/ui/dead-letters/{letter}/discard", reason="a test rider")
        form = {"csrf": token_of(asked), "reason": "me, too"}
        await bob.post(f"/ui/dead-letters/{letter}/discard", data=form)
        assert "Not done: it was redriven or discarded before." in (await bob.get("/ui/audit")).text
    assert [why for what, _, why in await deeds(scene) if what == "discard"] == ["a test rider"]


@pytest.mark.parametrize(("verb", "status"), [("redrive", "redriven"), ("discard", "discarded")])
async def test_a_group_is_settled_as_it_was_shown(scene: Scene, verb: str, status: str) -> None:
    """What dies while the question is open was not asked about, and stays."""
    key = "notify: no address"
    await put(scene.database, dead_letters, letter("seen", workspace=WORKSPACE, group_key=key))
    async with scene.signed_in() as browser:
        asked = await browser.get(f"/ui/dead-letters/group/{verb}", params={"key": key})
        assert f"{verb.capitalize()} 1 dead letter" in asked.text
        late = letter("late", workspace=WORKSPACE, group_key=key, at=NOW + 60)
        await put(scene.database, dead_letters, late)
        answer = await send(browser, asked, f"/ui/dead-letters/group/{verb}", reason="mended")
        assert answer.status_code == 303
    query = select(dead_letters.c.id, dead_letters.c.status).order_by(dead_letters.c.dead_at)
    found = await scene.database.read(lambda conn: conn.execute(query).all())
    assert [tuple(row) for row in found] == [("seen", status), ("late", "dead")]


async def test_an_edited_letter_must_fit_its_contract(scene: Scene) -> None:
    """What does not is said with the place; what does is sent."""
    run = await scene.ride("r-11-unlucky")
    letter = await scene.dead_letter(run)
    path = f"/ui/dead-letters/{letter}/edit"
    async with scene.signed_in() as browser:
        assert "not JSON" in (await submit(browser, path, data="{")).text
        off = await submit(browser, path, data='{"ride_id": 7}')
        assert off.status_code == 422
        assert "/ride_id" in off.text
        assert (await submit(browser, path, data='{"ride_id": "r-11-mended"}')).status_code == 303
    await scene.until_reaction("receipts", run, "done")


async def test_a_group_is_discarded_with_a_reason_only(scene: Scene) -> None:
    """Without one nothing is discarded; with one all of the group is, and stays to be seen."""
    run = await scene.ride("r-12-unlucky")
    letter = await scene.dead_letter(run)
    query = select(dead_letters.c.group_key).where(dead_letters.c.id == letter)
    key = await scene.database.read(lambda conn: conn.execute(query).scalar_one())
    path = f"/ui/dead-letters/group/discard?key={httpx.QueryParams({'k': key})['k']}"
    async with scene.signed_in() as browser:
        listed = await browser.get("/ui/dead-letters/group", params={"key": key})
        assert letter in listed.text
        asked = await browser.get("/ui/dead-letters/group/discard", params={"key": key})
        assert "Discard 1 dead letter" in asked.text
        form = {"csrf": token_of(asked), "key": key}
        assert (await browser.post(path.partition("?")[0], data=form)).status_code == 422
        done = await browser.post(path.partition("?")[0], data={**form, "reason": "a test rider"})
        assert done.status_code == 303
        page = (await browser.get(f"/ui/dead-letters/{letter}")).text
        assert "discarded" in page
        assert "a test rider" in page
