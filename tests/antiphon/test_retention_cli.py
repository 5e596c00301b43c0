"""``antiphon retention``: counted, archived, purged; and killed at each point of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from antiphon.cli import main
from contracts.crash import VARIABLE
from store.archive import Archive
from store.database import Database
from store.migrate import migrate
from tests.crash.points import ROOT
from tests.store.old_rows import ids, make_partitions_of, put_stories

STORIES = [f"r{n}" for n in range(1_200)]  # three batches of each kind


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store full of old stories."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    await migrate(url)
    database = await Database.open(url)
    await make_partitions_of(database)
    await database.write(lambda conn: put_stories(conn, STORIES))
    await database.close()
    return url


def variables(url: str, folder: Path) -> dict[str, str]:
    return {"ANTIPHON_DATABASE_URL": url, "ANTIPHON_ARCHIVE_DIR": str(folder)}


async def antiphon(url: str, folder: Path, *arguments: str) -> Result:
    """A command, at a terminal."""
    runner = CliRunner(env=variables(url, folder))
    return await asyncio.to_thread(runner.invoke, main, ["retention", *arguments])


async def told(url: str, folder: Path, *arguments: str) -> dict[str, Any]:
    done = await antiphon(url, folder, *arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


async def killed_at(point: str, url: str, folder: Path) -> None:
    """A sweep in a process of its own, which dies at a point of it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "antiphon", "retention", "run", "--older-than", "5d"),
        env={**os.environ, **variables(url, folder), "PYTHONPATH": str(ROOT), VARIABLE: point},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert f"crash point {point.partition(':')[0]}" in said.decode()


def archived(folder: Path) -> list[str]:
    """The ids of every run in the archive."""
    lines = [line for path in folder.glob("*/run-*.jsonl") for line in path.read_bytes().splitlines()]
    return [orjson.loads(line)["run"]["id"] for line in lines]


async def test_from_counting_to_purged(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    shown = await told(url, folder, "show", "--older-than", "5d")
    every = {"run": 1_200, "event": 1_200, "reaction": 1_200}
    assert shown["due"] == every | {"dead_letter": 0, "early_event": 0}
    assert (await told(url, folder, "run", "--older-than", "5d", "--dry-run"))["purged"] == shown["due"]
    assert not folder.exists()
    done = await told(url, folder, "run", "--older-than", "5d")
    assert done["purged"] == every
    assert sorted(archived(folder)) == sorted(STORIES)
    shown = await told(url, folder, "show")
    assert (shown["retention_s"], shown["purged_runs"], shown["oldest_end"]) == (None, 1_200, None)
    assert shown["archive"]["files"] == len(done["files"])
    said = await antiphon(url, folder, "run", "--older-than", "5d")
    assert said.stdout.splitlines() == ["nothing is old enough"]
    said = await antiphon(url, folder, "show")
    assert "ended runs are kept: for ever; set ANTIPHON_RETENTION to change that" in said.stdout


async def test_how_old_must_be_said(url: str, tmp_path: Path) -> None:
    for arguments, words in (
        ((), "--older-than 30d"),
        (("--older-than", "soon"), "ANTIPHON_RETENTION: 'soon'"),
    ):
        said = await antiphon(url, tmp_path / "archive", "run", *arguments)
        assert said.exit_code == 2
        assert words in said.stderr


@pytest.mark.parametrize("point", ["runs.before:2", "runs.after", "shelf.before:4", "requests.before"])
async def test_killed_in_the_middle_nothing_is_missing(url: str, tmp_path: Path, point: str) -> None:
    """Whatever is not in the store is in the archive, at each moment; the next sweep does the rest."""
    folder = tmp_path / "archive"
    await killed_at(f"store.retention.{point}", url, folder)
    database = await Database.open(url)
    left = await ids(database, "runs")
    assert left | set(archived(folder)) == set(STORIES)
    assert left.isdisjoint(await ids(database, "purged", "run_id"))
    assert await ids(database, "history", "run_id") == left
    await told(url, folder, "run", "--older-than", "5d")
    assert await ids(database, "runs") == await ids(database, "history", "run_id") == set()
    found = archived(folder)
    assert set(found) == set(STORIES)
    assert len(found) <= len(STORIES) + 600  # at the worst one batch twice
    await database.close()


def test_the_archive_is_named_by_day(tmp_path: Path) -> None:
    path = Archive(tmp_path, random_id=lambda: "abcd", clock=lambda: 1_700_000_000.5).keep("run", [b"{}"])
    assert path.relative_to(tmp_path) == Path("2023-11-14/run-221320.500000-abcd.jsonl")
    assert path.read_bytes() == b"{}\n"
