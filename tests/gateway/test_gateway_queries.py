"""Every query, on SQLite and on PostgreSQL: the same rows in, the same answers out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from gateway.keys import create_key, list_keys, revoke_key
from gateway.queries import story_rows
from gateway.queries.audit import list_audit
from gateway.queries.dead_letters import (
    get_dead_letter,
    get_quarantined,
    list_dead_letters,
    list_groups,
    list_quarantine,
)
from gateway.queries.history import list_facts
from gateway.queries.overview import (
    count_by_status,
    dead_by_reactor,
    held_in_quarantine,
    oldest_open,
    per_minute,
    reactor_numbers,
    stuck_runs,
)
from gateway.queries.processes import list_partitions, list_processes, outbox_depth, overdue_timers
from gateway.queries.runs import RunFilter, count_runs, get_run, get_runs, list_runs, related_runs
from gateway.queries.stories import get_story
from gateway.queries.story_rows import read_story
from store import tables
from store.audit import append_audit
from store.database import Database
from tests.gateway.seeding import NOW, OURS, THEIRS, fact, held, letter, put, reaction, run
from tests.plans import plans


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A migrated database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    database = await Database.open(url, migrate=True)
    yield database
    await database.close()


async def test_runs_are_listed_counted_and_shown(database: Database) -> None:
    """Newest first, two of the same moment in a set order, pages without gaps, nothing of others."""
    await put(
        database,
        tables.runs,
        run("a"),
        run("b"),
        run("c", "stuck", at=NOW + 5, key="50%_off"),
        run("d", "failed", at=NOW + 9, error='{"code":"x"}', parent="a", linked_from="b"),
        run("z", workspace=THEIRS),
    )

    def ids(wanted: RunFilter | None = None) -> Any:
        return lambda conn: [one.id for one in list_runs(conn, OURS, wanted).items]

    assert await database.read(ids()) == ["d", "c", "b", "a"]
    assert await database.read(ids(RunFilter(statuses=("stuck", "failed")))) == ["d", "c"]
    assert await database.read(ids(RunFilter(key="50%*"))) == ["c"]
    assert await database.read(ids(RunFilter(key="50x*"))) == []
    assert await database.read(ids(RunFilter(key="50%_o*"))) == ["c"]
    assert await database.read(ids(RunFilter(key="50%_O*"))) == []
    assert await database.read(ids(RunFilter(since=NOW + 5, until=NOW + 9))) == ["c"]
    assert await database.read(lambda conn: count_runs(conn, OURS, RunFilter(flow="ride"))) == 4
    first = await database.read(lambda conn: list_runs(conn, OURS, most=3))
    rest = await database.read(lambda conn: list_runs(conn, OURS, most=3, cursor=first.next))
    assert ([one.id for one in first.items], [one.id for one in rest.items]) == (["d", "c", "b"], ["a"])
    assert rest.next is None
    shown = await database.read(lambda conn: get_run(conn, OURS, "d"))
    assert shown is not None
    assert (shown.input, shown.result, shown.error, shown.ended) == (
        {"n": 1},
        {"fare": 2},
        {"code": "x"},
        True,
    )
    assert await database.read(lambda conn: get_run(conn, OURS, "z")) is None
    many = [(OURS, "d"), (THEIRS, "d"), (OURS, "nowhere"), (OURS, "d")]
    assert await database.read(lambda conn: get_runs(conn, many)) == [shown, None, None, shown]
    assert [one.id for one in await database.read(lambda conn: related_runs(conn, OURS, "a"))] == ["d"]


async def test_facts_are_of_ones_own_runs_only(database: Database) -> None:
    """A run id of another workspace has no history here."""
    await put(database, tables.runs, run("a"), run("z", workspace=THEIRS))
    await put(database, tables.history, *(fact(id, seq) for id in ("a", "z") for seq in (1, 2, 3)))
    found = await database.read(lambda conn: list_facts(conn, OURS, "a", after=1))
    assert [fact.seq for fact in found] == [2, 3]
    assert await database.read(lambda conn: list_facts(conn, OURS, "z")) == []


async def thousands(database: Database) -> None:
    """2,000 runs, every other one of a story of its own, with two facts each."""
    ids = [f"r{number}" for number in range(2_000)]
    made = [run(id, at=NOW + at) for at, id in enumerate(ids)]
    await put(database, tables.runs, *(one | {"correlation": one["id"]} for one in made[::2]), *made[1::2])
    facts = [fact(id, seq, created_at=NOW + at) for at, id in enumerate(ids) for seq in (1, 2)]
    await put(database, tables.history, *facts)
    await database.write(lambda conn: conn.exec_driver_sql("ANALYZE") and None)


@pytest.mark.parametrize("ask", [list_facts, read_story])
async def test_facts_are_found_by_their_key(database: Database, ask: Callable[..., Any]) -> None:
    """Whoever reads them, not by reading the whole history for those of one run."""
    await thousands(database)
    of = "r7" if ask is list_facts else "story-r7"
    found = await database.read(lambda conn: plans(conn, "history", lambda conn: ask(conn, OURS, of)))
    by_key = ("Index Scan using history_pkey", "SEARCH history USING INDEX sqlite_autoindex_history_1")
    assert len(found) == 1
    assert any(how in found[0] for how in by_key), found


async def test_of_a_long_story_the_oldest_part_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The facts of the runs that began first; ids are hashes, and say nothing of what came first."""
    monkeypatch.setattr(story_rows, "_MOST", 3)
    runs = [run("z"), run("a", at=NOW + 1), run("m", at=NOW + 2)]
    await put(database, tables.runs, *(one | {"correlation": "s"} for one in runs))
    for one in runs:
        facts = [fact(one["id"], seq, created_at=one["created_at"]) for seq in (1, 2)]
        await put(database, tables.history, *facts)
    told = await database.read(lambda conn: read_story(conn, OURS, "s"))
    assert told is not None
    assert told.truncated
    assert {id: len(facts) for id, facts in told.histories.items()} == {"z": 2, "a": 1, "m": 0}


@pytest.mark.parametrize("story", ["r8", "story-r7"])
async def test_the_runs_of_a_story_are_found_by_an_index(database: Database, story: str) -> None:
    """One that is its own story by its id, others by the index that only those are in."""
    await thousands(database)
    id = story.removeprefix("story-")
    alone = RunFilter(correlation=story)
    listed = await database.read(lambda conn: list_runs(conn, OURS, alone))
    assert [one.id for one in listed.items] == [id]
    told = await database.read(lambda conn: read_story(conn, OURS, story))
    assert [one["id"] for one in told.runs] == [id]
    assert {fact["run_id"] for facts in told.histories.values() for fact in facts} == {id}
    # A run is of no story but its own, whatever ids there are.
    assert await database.read(lambda conn: read_story(conn, OURS, "r7")) is None

    asks: tuple[Callable[[Connection], Any], ...] = (
        lambda conn: read_story(conn, OURS, story),
        lambda conn: list_runs(conn, OURS, alone),
        lambda conn: count_runs(conn, OURS, alone),
    )
    found = [
        how for ask in asks for how in await database.read(lambda conn, ask=ask: plans(conn, "runs", ask))
    ]
    assert len(found) == 4  # the runs and the facts of the story, the list and its number
    for how in found:
        assert "Seq Scan" not in how, how
        assert "SCAN runs" not in how, how
        assert "runs_workspace_correlation" in how, how


async def test_the_overview_counts_by_minute_status_and_age(database: Database) -> None:
    """Minutes are whole ones, empty ones are there, and the oldest open run is the one that stood still."""
    await put(
        database,
        tables.runs,
        run("a", at=NOW - 60),
        run("b", at=NOW),
        run("c", "failed", at=NOW + 59),
        run("d", "running", at=NOW + 10, waiting="for an event", updated_at=NOW + 10),
        run("e", "stuck", at=NOW + 20, updated_at=NOW + 50),
        run("z", "running", workspace=THEIRS, at=NOW - 60, updated_at=NOW - 60),
    )
    minutes = await database.read(lambda conn: per_minute(conn, OURS, now=NOW + 65, minutes=4))
    assert [(m.at - int(NOW), m.started, m.completed, m.failed) for m in minutes] == [
        (-120, 0, 0, 0),
        (-60, 1, 1, 0),
        (0, 4, 1, 0),
        (60, 0, 0, 1),
    ]
    assert await database.read(lambda conn: count_by_status(conn, OURS)) == {
        "completed": 2,
        "failed": 1,
        "running": 1,
        "stuck": 1,
    }
    assert (await database.read(lambda conn: count_by_status(conn, None)))["running"] == 2
    oldest = await database.read(lambda conn: oldest_open(conn, OURS))
    assert oldest is not None
    assert (oldest.run_id, oldest.waiting, oldest.since) == ("d", "for an event", NOW + 10)
    assert [one.id for one in await database.read(lambda conn: stuck_runs(conn, OURS))] == ["e"]


async def test_reactors_have_numbers_also_without_reactions(database: Database) -> None:
    """Counts by status, the oldest open one, and how long was waited and worked."""
    await put(
        database,
        tables.reactions,
        *(reaction(f"e{number}", worked=number / 10) for number in range(1, 11)),
        reaction("open", "claimed", received_at=NOW - 9),
        reaction("dead", "dead", worked=9.0),
        reaction("theirs", workspace=THEIRS),
    )
    notify, idle = await database.read(lambda conn: reactor_numbers(conn, OURS, ["notify", "idle"]))
    assert (notify.done, notify.claimed, notify.dead, notify.oldest_open) == (10, 1, 1, NOW - 9)
    assert notify.worked_p50 == pytest.approx(0.6, abs=0.01)
    assert notify.worked_p95 == pytest.approx(9.0)
    assert notify.waited_p50 == pytest.approx(0.25)
    assert (idle.done, idle.worked_p50, idle.oldest_open) == (0, None, None)


async def test_dead_letters_and_quarantine(database: Database) -> None:
    """Groups are largest first, lists page, bodies are bytes, and each workspace has its own."""
    await put(
        database,
        tables.dead_letters,
        letter("a"),
        letter("b", at=NOW + 1),
        letter("c", group_key="other", at=NOW + 2),
        letter("d", status="redriven"),
        letter("z", workspace=THEIRS),
    )
    await put(database, tables.quarantine, held("q1", OURS), held("q2", ""), held("q3", THEIRS))
    groups = await database.read(lambda conn: list_groups(conn, OURS))
    assert [(group.group_key, group.count, group.last_at) for group in groups] == [
        ("notify: no address", 2, NOW + 1),
        ("other", 1, NOW + 2),
    ]
    first = await database.read(lambda conn: list_dead_letters(conn, OURS, most=2))
    rest = await database.read(lambda conn: list_dead_letters(conn, OURS, most=2, cursor=first.next))
    assert [one.id for one in first.items + rest.items] == ["c", "b", "a"]
    shown = await database.read(lambda conn: get_dead_letter(conn, OURS, "a"))
    assert shown is not None
    assert (bytes(shown.body), shown.headers) == (b"{}", {})
    assert await database.read(lambda conn: get_dead_letter(conn, OURS, "z")) is None
    assert await database.read(lambda conn: dead_by_reactor(conn, OURS)) == {"notify": 3}

    async def ids(workspace: str, unclaimed: bool) -> list[str]:
        page = await database.read(lambda conn: list_quarantine(conn, workspace, unclaimed=unclaimed))
        return sorted(one.id for one in page.items)

    assert await ids(OURS, True) == ["q1", "q2"]
    assert await ids(OURS, False) == ["q1"]
    for bodies, body in (
        (False, b""),
        (True, b"\xff"),
    ):  # one may have megabytes, and a list hundreds of them
        page = await database.read(lambda conn, how=bodies: list_quarantine(conn, OURS, bodies=how))
        assert [bytes(one.body) for one in page.items] == [body]
    assert await database.read(lambda conn: get_quarantined(conn, OURS, "q3", unclaimed=True)) is None
    assert await database.read(lambda conn: held_in_quarantine(conn, (OURS, ""))) == 2
    assert await database.read(lambda conn: held_in_quarantine(conn, None)) == 3


async def test_a_story_has_every_row_of_its_own_and_what_is_missing(database: Database) -> None:
    """Of another workspace with the same correlation id it has nothing."""
    event = {
        "source": "/acme/x",
        "id": "e1",
        "workspace": OURS,
        "type": "ride.booked.v1",
        "correlation": "story-a",
        "causation": None,
        "subject": None,
        "at": NOW,
        "routed": 1,
    }
    await put(database, tables.runs, run("a"), run("z", workspace=THEIRS, correlation="story-a"))
    await put(database, tables.events, event, {**event, "id": "e9", "workspace": THEIRS})
    await put(database, tables.reactions, reaction("e1"), reaction("e9", workspace=THEIRS))
    await put(database, tables.dead_letters, letter("l1", event_id="e1"))
    for target, detail in (("run/a", None), ("notify: no address", {"letters": ["l1"]}), ("run/z", None)):
        await database.write(
            lambda conn, target=target, detail=detail: append_audit(
                conn, workspace=OURS, at=NOW, actor="k", action="do", target=target, detail=detail
            )
        )
    subscribed = {"ride.booked.v1": ["notify", "absent"]}
    story = await database.read(lambda conn: get_story(conn, OURS, "story-a", subscribed))
    assert story is not None
    assert [one["id"] for one in story.runs] == ["a"]
    assert sorted(entry.kind for entry in story.entries) == [
        "audit",
        "audit",
        "dead_letter",
        "event",
        "missing",
        "reaction",
    ]
    assert await database.read(lambda conn: get_story(conn, OURS, "nothing", subscribed)) is None
    page = await database.read(lambda conn: list_audit(conn, OURS, most=2))
    rest = await database.read(lambda conn: list_audit(conn, OURS, most=2, cursor=page.next))
    assert [deed.target for deed in page.items + rest.items] == ["run/z", "notify: no address", "run/a"]


async def test_processes_partitions_and_outbox(database: Database) -> None:
    """Alive and held are judged by the time that is handed in."""
    process = {"id": "p-1", "role": "orchestrator", "name": "o", "started_at": NOW, "detail": None}
    await put(
        database,
        tables.processes,
        {**process, "alive_until": NOW + 5},
        {**process, "id": "p-2", "alive_until": NOW - 5},
        {**process, "id": "p-0", "alive_until": NOW - 5000},
    )
    partition = {"epoch": 1, "last_commit": None, "owner": "p-1"}
    await put(
        database,
        tables.partitions,
        {**partition, "id": 0, "lease_until": NOW + 5},
        {**partition, "id": 1, "lease_until": NOW - 5},
    )
    processes = await database.read(lambda conn: list_processes(conn, NOW))
    assert [(one.id, one.alive) for one in processes] == [("p-1", True), ("p-2", False)]
    assert [one.held for one in await database.read(lambda conn: list_partitions(conn, NOW))] == [True, False]
    assert await database.read(outbox_depth) == 0
    timer = {"run_id": "r", "partition": 0}
    due = [{**timer, "name": name, "due_at": NOW - late} for name, late in (("a", 31), ("b", 5), ("c", -60))]
    await put(database, tables.timers, *due)
    assert await database.read(lambda conn: overdue_timers(conn, NOW)) == 1


async def test_keys_are_listed_and_revoked(database: Database) -> None:
    """Revoked keys stay in the list, with the time."""
    made = await create_key(database, workspace=OURS, role="viewer", name="k", clock=lambda: NOW)
    assert await database.write(lambda conn: revoke_key(conn, OURS, made.key.id, NOW + 1))
    assert not await database.write(lambda conn: revoke_key(conn, THEIRS, made.key.id, NOW + 1))
    (found,) = await database.read(lambda conn: list_keys(conn, OURS))
    assert (found.id, found.revoked_at) == (made.key.id, NOW + 1)
