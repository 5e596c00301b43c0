"""What is old is archived and purged; what is open, or belongs to what is open, stays."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import re
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection

from contracts.errors import ArchiveFailed
from store import tables
from store.archive import Archive
from store.bulk import insert_rows, update_rows
from store.database import Database
from store.retention import KEYS_KEPT, Retention
from store.shelves import SHELVES, Runs, Shelf
from tests.plans import plans
from tests.store.old_rows import (
    DAY,
    NOW,
    event,
    ids,
    letter,
    make_partitions_of,
    put,
    put_stories,
    reaction,
    request,
    run,
)

WEEK = 7 * DAY


@pytest.fixture
async def store(lasting_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(lasting_url, migrate=True)
    await make_partitions_of(opened)
    yield opened
    await opened.close()


def archive_in(folder: Path, *, compress: bool = False) -> Archive:
    numbers = itertools.count()
    return Archive(folder, random_id=lambda: f"{next(numbers):04}", compress=compress, clock=lambda: NOW)


def retention_of(store: Database, archive: Archive, **more: Any) -> Retention:
    return Retention(store, archive, clock=lambda: NOW, share=1.0, **more)


def lines_in(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*/*")):
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        found += [orjson.loads(line) for line in text.splitlines()]
    return found


@pytest.mark.parametrize("compress", [False, True])
async def test_a_story_is_archived_whole_and_leaves(store: Database, tmp_path: Path, compress: bool) -> None:
    stories = [f"r{n}" for n in range(7)]
    await store.write(lambda conn: put_stories(conn, stories))
    await put(store, "timers", {"run_id": "r1", "name": "x", "partition": 0, "due_at": NOW})
    await put(store, "idempotency", request("accepted:r1", at=NOW - 30 * DAY))
    await put(store, "dead_letters", letter("l1", "story-r1", "redriven"))
    swept = await retention_of(store, archive_in(tmp_path, compress=compress), batch=3).sweep(WEEK)
    assert swept.purged == {"run": 7, "event": 7, "reaction": 7, "dead_letter": 1}
    assert swept.requests == 1
    for table in ("history", "marks", "timers"):
        assert await ids(store, table, "run_id") == set()
    for table in ("runs", "events", "dead_letters"):
        assert await ids(store, table) == set()
    assert await ids(store, "reactions", "event_id") == set()
    assert await ids(store, "purged", "run_id") == set(stories)
    lines = lines_in(tmp_path)
    runs = {line["run"]["id"]: line for line in lines if line["kind"] == "run"}
    assert set(runs) == set(stories)
    assert runs["r1"]["run"]["input"] == {"n": 1}
    assert [(fact["seq"], fact["data"]) for fact in runs["r1"]["history"]] == [(1, {"n": 1}), (2, {"n": 2})]
    assert set(runs["r1"]["history"][0]) == {"seq", "type", "node", "at", "data"}
    reactions = [line["reaction"] for line in lines if line["kind"] == "reaction"]
    assert {one["event_id"] for one in reactions} == {f"event-{id}" for id in stories}
    assert [line["dead_letter"]["body_base64"] for line in lines if line["kind"] == "dead_letter"] == ["AP8="]
    assert await retention_of(store, archive_in(tmp_path)).sweep(WEEK) == type(swept)()


async def test_what_is_open_stays_with_all_that_is_its(store: Database, tmp_path: Path) -> None:
    """Open runs and what they were made from, young ones, a child whose parent goes on, and their stories."""
    again = '{"reruns":1}'
    await put(
        store,
        "runs",
        run("open", ended=None),
        run("young", ended=NOW - DAY),
        run("child", parent="open", correlation="story-open"),
        run("orphan", parent="gone"),
        run("late", ended=NOW - 30 * DAY, correlation="story-young"),
        run("first", correlation="first", key="k", state=again),
        run("second", correlation="first", key="k", state=again, linked_from="first"),
        run("third", correlation="first", key="k", linked_from="second", ended=None),
        run("beside", correlation="first", state=again),
    )
    kept = [event("e-open", "story-open"), event("e-young", "story-young"), event("e-new", "s", at=NOW - DAY)]
    await put(store, "events", *kept, event("e-alone", "a-story-without-a-run"))
    await put(
        store,
        "reactions",
        reaction("e-open", "story-open"),
        reaction("dead", "s", "dead"),
        reaction("busy", "s", "claimed", at=None),
        reaction("gone", "s", "discarded"),
    )
    await put(store, "dead_letters", letter("open", "s", "dead"), letter("settled", "s", "discarded"))
    early = {"partition": 0, "type": "t.v1", "data": "{}", "message_id": "m"}
    await put(
        store,
        "early_events",
        {**early, "run_id": "never", "at": NOW - 10 * DAY},
        {**early, "run_id": "soon", "at": NOW - DAY},
        {**early, "run_id": "open", "at": NOW - 10 * DAY},
    )
    retention = retention_of(store, archive_in(tmp_path), batch=1)
    counted = await retention.due(WEEK)
    swept = await retention.sweep(WEEK)
    assert swept.purged == counted.counts == dict.fromkeys(counted.counts, 1) | {"run": 3}
    assert await ids(store, "runs") == {"open", "young", "child", "first", "second", "third"}
    assert await ids(store, "events") == {"e-open", "e-young", "e-new"}
    assert await ids(store, "reactions", "event_id") == {"e-open", "dead", "busy"}
    assert await ids(store, "dead_letters") == {"open"}
    assert await ids(store, "early_events", "run_id") == {"soon", "open"}


async def test_the_inbox_is_kept_for_as_long_as_a_message_may_come_again(
    store: Database, tmp_path: Path
) -> None:
    await put(store, "reactions", reaction("e", "s"))
    kept = retention_of(store, archive_in(tmp_path), inbox_at_least=11 * DAY)
    assert (await kept.sweep(WEEK)).purged == {}
    assert (await retention_of(store, archive_in(tmp_path), inbox_at_least=9 * DAY).sweep(WEEK)).purged


async def test_requests_are_forgotten_after_their_window(store: Database, tmp_path: Path) -> None:
    """Also where no run is purged; but never the note of an accepted run that has not begun."""
    await put(
        store,
        "idempotency",
        request("client:old", at=NOW - KEYS_KEPT - 1),
        request("client:new", at=NOW - KEYS_KEPT + 1),
        request("accepted:nowhere", at=NOW - 100 * DAY),
        request("accepted:r", at=NOW - 100 * DAY),
    )
    await put(store, "runs", run("r", ended=None))
    assert (await retention_of(store, archive_in(tmp_path)).sweep(None)).requests == 2
    assert await ids(store, "idempotency", "key") == {"client:new", "accepted:nowhere"}
    await put(store, "idempotency", request("client:older", at=NOW - 20 * DAY))
    assert (await retention_of(store, archive_in(tmp_path)).sweep(30 * DAY)).requests == 0


async def test_nothing_is_purged_that_can_t_be_archived(store: Database, tmp_path: Path) -> None:
    """The folder is a file: the error says where, and everything is still there."""
    await store.write(lambda conn: put_stories(conn, ["r1"]))
    (tmp_path / "archive").write_text("not a folder")
    with pytest.raises(ArchiveFailed, match=r"archive.*nothing was purged"):
        await retention_of(store, archive_in(tmp_path / "archive")).sweep(WEEK)
    assert await ids(store, "runs") == {"r1"}
    assert await ids(store, "history", "run_id") == {"r1"}


async def test_a_run_that_is_made_again_while_it_is_archived_stays(store: Database, tmp_path: Path) -> None:
    """What was added is not in the archive, and the events of the one that goes on come by way of it."""

    class Slow(Archive):
        def keep(self, kind: str, lines: Iterable[bytes]) -> Path:
            asyncio.run_coroutine_threadsafe(again(), loop).result()
            return super().keep(kind, lines)

    async def again() -> None:
        made = {"state": '{"reruns":1}', "seq": 9, "id": "r1"}
        await store.write(lambda conn: update_rows(conn, tables.runs, [made]) and None)
        newer = run("r1-1", ended=None, correlation="story-r1", key="key-r1", linked_from="r1")
        await store.write(lambda conn: insert_rows(conn, tables.runs, [newer], on_conflict="ignore") and None)

    loop = asyncio.get_running_loop()
    await put(store, "runs", run("r1"))
    await retention_of(store, Slow(tmp_path, random_id=lambda: "x", clock=lambda: NOW)).sweep(WEEK)
    assert await ids(store, "runs") == {"r1", "r1-1"}


async def test_a_run_that_was_just_made_again_stays_while_the_new_one_is_on_its_way(
    store: Database, tmp_path: Path
) -> None:
    """The start of the new one is a message, for a partition that may have no owner just then."""
    await put(
        store,
        "runs",
        run("r1", state='{"reruns":1}', updated_at=NOW - 1),
        run("r2", state='{"reruns":1}', updated_at=NOW - 10 * DAY),
    )
    await retention_of(store, archive_in(tmp_path)).sweep(WEEK)
    assert await ids(store, "runs") == {"r1"}


async def test_one_that_is_nested_as_deep_as_can_be_stored_holds_up_nothing(
    store: Database, tmp_path: Path
) -> None:
    """Its line in the archive is some levels deeper than what was stored."""
    nested = "[" * 253 + "]" * 253
    await put(store, "runs", run("r1", result=nested), run("r2"))
    swept = await retention_of(store, archive_in(tmp_path)).sweep(WEEK)
    assert swept.purged == {"run": 2}
    assert any(f'"result":{nested}' in path.read_text() for path in swept.files)


async def test_a_run_with_much_history_goes_alone(store: Database, tmp_path: Path) -> None:
    """Batches are bounded by facts too, so that memory is."""
    await store.write(lambda conn: put_stories(conn, ["r1"]))
    await put(store, "runs", run("b0", seq=15_000), run("b2", seq=15_000), run("b4", seq=15_000))
    swept = await retention_of(store, archive_in(tmp_path)).sweep(WEEK)
    assert swept.purged["run"] == 4
    assert len([path for path in swept.files if path.name.startswith("run-")]) >= 3


async def test_the_oldest_are_found_by_an_index(store: Database) -> None:
    """However many runs have ended, a batch costs what it takes out."""
    old = [run(f"r{number}", ended=NOW - number * DAY) for number in range(2_000)]
    await put(store, "runs", *old)
    await store.write(lambda conn: conn.exec_driver_sql("ANALYZE") and None)
    shelf = Runs(0)
    take = partial(shelf.take, before=NOW - WEEK, most=5)
    batch = await store.read(take)
    ended = [row["ended_at"] for row in old if row["partition"] == 0 and row["ended_at"] < NOW - WEEK]
    assert [key[3] for key in batch.keys] == sorted(ended)[:5]
    (how,) = await store.read(lambda conn: plans(conn, "runs", lambda conn: take(conn).keys))
    assert "runs_partition_ended" in how, how
    assert "Sort" not in how, how
    assert "TEMP B-TREE" not in how, how


@pytest.mark.parametrize("shelf", SHELVES, ids=lambda shelf: shelf.kind)
async def test_what_no_run_needs_is_found_by_indexes(store: Database, shelf: Shelf) -> None:
    """The oldest of a table, and for each of them the runs of its story: there is an index for both."""
    await put(store, "runs", *(run(f"r{number}") for number in range(2_000)))
    await put(store, "events", *(event(f"e{number}", f"s{number}") for number in range(2_000)))
    await put(store, "reactions", *(reaction(f"e{number}", f"s{number}") for number in range(2_000)))
    await put(
        store, "dead_letters", *(letter(f"l{number}", f"s{number}", "redriven") for number in range(2_000))
    )
    early = {"partition": 0, "type": "t.v1", "data": "{}", "message_id": "m", "at": NOW - 10 * DAY}
    await put(store, "early_events", *({**early, "run_id": f"never-{number}"} for number in range(2_000)))
    await store.write(lambda conn: conn.exec_driver_sql("ANALYZE") and None)
    take = partial(shelf.take, before=NOW - WEEK, most=5)

    def how(conn: Connection) -> list[str]:
        if conn.dialect.name == "postgresql":  # which reads a table of a few pages whole, whatever it has
            for way in ("seqscan", "hashjoin", "mergejoin", "sort"):
                conn.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        return plans(conn, shelf.table.name, lambda conn: take(conn).keys)

    (found,) = await store.read(how)
    assert not re.search("SCAN|Seq Scan|Sort|TEMP B-TREE", found), found


async def test_it_rests_between_batches(store: Database, tmp_path: Path) -> None:
    """At a fifth of the time at work, it rests four times as long as each batch took."""
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    await store.write(lambda conn: put_stories(conn, ["r1", "r3", "r5"]))
    archive = archive_in(tmp_path)
    await Retention(store, archive, clock=lambda: NOW, share=0.2, batch=1, sleep=sleep).sweep(WEEK)
    assert len(rests) == 9
    assert all(rest > 0 for rest in rests)


def test_what_a_dead_process_left_half_written_is_removed(tmp_path: Path) -> None:
    day = tmp_path / "2020-01-01"
    day.mkdir()
    (day / "run-1.jsonl.partial").write_bytes(b'{"kind"')
    (day / "run-1.jsonl").write_bytes(b"{}\n")
    archive = Archive(tmp_path, random_id=lambda: "x", clock=lambda: 1e12)
    archive.tidy()
    assert [path.name for path in day.iterdir()] == ["run-1.jsonl"]
    assert archive.size() == (1, 3)
