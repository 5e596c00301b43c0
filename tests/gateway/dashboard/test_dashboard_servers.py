"""The dashboard over real servers: the same pages on PostgreSQL, and without Redis when it is gone."""

from __future__ import annotations

from pathlib import Path

from antiphon.devservices import Postgres, Redis
from gateway.dashboard.streaming import changes
from tests.gateway.dashboard.forms import submit
from tests.gateway.dashboard.scene import WORKSPACE, Scene


async def test_every_page_is_there_on_postgresql_and_redis(
    tmp_path: Path, postgres: Postgres, redis_server: Redis
) -> None:
    """A ride with a dead letter, on every page that can show it; and it is redriven."""
    scene = Scene(tmp_path)
    try:
        await scene.open(database=postgres.create_database(), live=redis_server.url)
        run = await scene.ride("r-1-flaky-unlucky")
        letter = await scene.dead_letter(run)
        await scene.until_run(run, waiting="trip.ended.v1")
        async with scene.signed_in() as browser:
            for path, shows in (
                ("/ui/overview", "mailbox of rider"),
                ("/ui/runs?key=r-1*&period=1h&status=running", "r-1-flaky-unlucky"),
                (f"/ui/runs/{run}", "Done after 3 attempts"),
                (f"/ui/stories/{run}", "Given up after 2 attempts"),
                ("/ui/dead-letters", "RuntimeError"),
                (f"/ui/dead-letters/{letter}", "Traceback"),
                ("/ui/reactors", "driver_earnings"),
            ):
                page = await browser.get(path)
                assert page.status_code == 200, path
                assert shows in page.text, path
            scene.faults.mailbox_full = False
            await submit(browser, f"/ui/dead-letters/{letter}/redrive", reason="mended")
            await scene.until_reaction("receipts", run, "done")
            assert "Every entry follows" in (await browser.get("/ui/audit?verify=1")).text
    finally:
        await scene.close()


async def test_an_open_page_stays_current_without_redis(tmp_path: Path, redis_server: Redis) -> None:
    """The feed only makes it quick: while Redis is away, the store is looked at."""
    scene = Scene(tmp_path)
    redis_server.stop()
    try:
        await scene.open(live=redis_server.url)
        stamps = iter(("one", "one", "two"))
        last = ["one"]

        async def stamp() -> str:
            last[0] = next(stamps, last[0])
            return last[0]

        stream = changes(scene.live, f"ws/{WORKSPACE}", "c-1", stamp, "one")
        found = [await anext(stream), await anext(stream)]
        assert b"id: two" in found[1]
        await stream.aclose()
        async with scene.signed_in() as browser:
            page = await browser.get("/ui/overview")
            assert page.status_code == 200
            assert "Live feed" in page.text
            assert ">down<" in page.text
    finally:
        await scene.close()
        redis_server.start()
