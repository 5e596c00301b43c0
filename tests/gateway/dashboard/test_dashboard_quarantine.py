"""The page of the quarantine: what was refused and why, asked before anything is done."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from bus.port import DIRECT, Message, Outgoing
from store.tables import events, quarantine
from tests.gateway.dashboard.forms import deeds, submit
from tests.gateway.dashboard.scene import WORKSPACE, Scene, until
from tests.gateway.seeding import held, put


async def hold(scene: Scene, body: bytes = b'{"<b>": 1}') -> str:
    """Garbage with a forged name on it, in quarantine; its id."""
    message = Message("m-1", body, headers={"x-antiphon-kid": "<i>thief/1"})
    queue = f"reactor.{scene.platform.reactors[0].name}"
    await scene.bus.publish(Outgoing(message, queue, DIRECT))
    async with scene.signed_in() as browser:

        async def look() -> str:
            text = (await browser.get("/ui/quarantine")).text
            _, found, rest = text.partition('href="/ui/quarantine/')
            return rest.partition('"')[0] if found and "data-open" in rest[:60] else ""

        return str(await until(look, "the quarantine"))


async def test_what_is_held_is_shown_with_its_reason_and_escaped(scene: Scene) -> None:
    """Whatever a stranger wrote is text."""
    id = await hold(scene)
    async with scene.signed_in("viewer") as browser:
        for path in ("/ui/quarantine", f"/ui/quarantine/{id}"):
            page = await browser.get(path)
            assert page.status_code == 200
            assert "malformed" in page.text
            assert "&lt;i&gt;thief/1" in page.text
            assert "<i>thief" not in page.text
            assert "data-ask" not in page.text
        assert (await browser.get(f"/ui/quarantine/{id}/release")).status_code == 403
        assert (await browser.get("/ui/quarantine/nothing")).status_code == 404
        assert (await browser.get("/ui/quarantine?cursor=x")).status_code == 400
        assert 'aria-current="page" data-go="q"' in (await browser.get("/ui/quarantine")).text


async def test_it_is_discarded_with_a_reason_and_then_settled(scene: Scene) -> None:
    """Without a reason it is asked again; afterwards there is nothing more to do."""
    id = await hold(scene)
    async with scene.signed_in() as browser:
        path = f"/ui/quarantine/{id}/discard"
        assert (await submit(browser, path)).status_code == 422
        assert (await browser.get(f"/ui/quarantine/{id}/burn")).status_code == 404
        assert (await submit(browser, path, reason="garbage")).status_code == 303
        assert "Nothing is held" in (await browser.get("/ui/quarantine")).text
        assert id in (await browser.get("/ui/quarantine?status=discarded")).text
        assert "data-ask" not in (await browser.get(f"/ui/quarantine/{id}")).text
        refused = await submit(browser, f"/ui/quarantine/{id}/release", reason="too late")
        assert refused.status_code == 303
    assert await deeds(scene) == [("quarantine.discard", id, "garbage")]


async def test_a_release_says_what_it_does_and_does_it(scene: Scene) -> None:
    """It is back on its queue, where it is refused and held again."""
    id = await hold(scene)
    async with scene.signed_in() as browser:
        assert "you vouch for it" in (await browser.get(f"/ui/quarantine/{id}/release")).text
        answer = await submit(browser, f"/ui/quarantine/{id}/release?back=/ui/quarantine", reason="a try")
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/quarantine")

        async def again() -> bool:
            return id in (await browser.get("/ui/quarantine")).text

        await until(again, "it to be held again")
    assert await deeds(scene) == [("quarantine.release", id, "a try")]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"[" * 1_500 + b"]" * 1_500, "[" * 1_500),
        (b"[" * 70 + b"]" * 70, "[" * 70),
        (b"[[1]" + b" " * 100_000 + b"]", "[[1]   "),
        (b"[[1]]", "[\n  [\n    1\n  ]\n]"),
        (b"[18446744073709551617]", "18446744073709551617"),
        (rb'["\ud800"]', r"\ud800"),
        (b"\xff\xfe", r"\xff\xfe"),
    ],
)
async def test_whatever_was_refused_can_be_looked_at(scene: Scene, body: bytes, shown: str) -> None:
    """Nested too deep, too large, half a surrogate pair, no text at all: each is a page, and no crash."""
    id = await hold(scene, body)
    async with scene.signed_in("viewer") as browser:
        for path in (f"/ui/quarantine/{id}", "/ui/dead-letters"):
            page = await browser.get(path)
            assert page.status_code == 200, path
            assert shown in page.text


async def test_a_story_says_which_reaction_will_not_come_since_its_message_was_refused(scene: Scene) -> None:
    """It is not missed as if its reactor were down; what can be done about it is there."""
    run = await scene.ride("r-1")
    await scene.until_run(run, waiting="trip.ended.v1")
    await scene.until_reaction("notify", run, "done")
    query = select(events.c.id).where(events.c.type == "ride.booked.v1", events.c.correlation == run)
    event = await scene.database.read(lambda conn: conn.execute(query).scalar_one())
    row = {**held("q-1", WORKSPACE), "queue": "reactor.driver_earnings", "message_id": event}
    await put(scene.database, quarantine, row, {**row, "id": "q-2", "workspace": "globex"})
    async with scene.signed_in() as browser:
        page = (await browser.get(f"/ui/stories/{run}")).text
    assert "driver_earnings on ride.booked.v1: Refused as malformed, and in quarantine: no JSON" in page
    assert "Is the reactor running?" not in page
    assert "/ui/quarantine/q-1/release?back=" in page
    assert "q-2" not in page
