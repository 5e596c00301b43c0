"""``antiphon retention``: what is old leaves the store for the archive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import orjson

from antiphon.retaining import archive_of, retention_of
from antiphon.rooms import open_store
from antiphon.settings import Settings
from contracts.envelope import timestamp
from contracts.errors import ConfigurationError
from store.database import Database
from store.retention import KEYS_KEPT, Due

__all__ = ["retention"]

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
_older_than = click.option("--older-than", metavar="DURATION", help="Such as 30d or 12h; ANTIPHON_RETENTION.")
_archive = click.option(
    "--archive", type=click.Path(path_type=Path, file_okay=False), help="ANTIPHON_ARCHIVE_DIR."
)


@click.group()
def retention() -> None:
    """What is old leaves the store: it is archived as JSON lines, then purged.

    Orchestrators do it by themselves once ANTIPHON_RETENTION is set. Runs leave with their histories some
    time after their end; events, reactions and settled dead letters once no run of their story is left.
    What is open stays. A purged run's id stays taken: the same key does not run again.
    """


@retention.command()
@_older_than
@_archive
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@_as_json
def run(older_than: str | None, archive: Path | None, dry_run: bool, as_json: bool) -> None:
    """Archive and purge now. Safe beside running orchestrators, and safe to kill.

    \b
    Example: what would go, and then let it go:
      antiphon retention run --older-than 30d --dry-run
      antiphon retention run --older-than 30d --archive /var/archive
    """
    settings = Settings.load(retention=older_than, archive_dir=archive)
    age = settings.retention_seconds
    if age is None:
        raise ConfigurationError("say how old is old enough: --older-than 30d, or set ANTIPHON_RETENTION")

    async def sweep(database: Database) -> dict[str, Any]:
        if dry_run:
            found = await retention_of(settings, database, archive_of(settings)).due(age)
            return {"dry_run": True, "older_than_s": age, "purged": found.counts, "requests": 0, "files": []}
        swept = await retention_of(settings, database, archive_of(settings)).sweep(age)
        return {
            "dry_run": False,
            "older_than_s": age,
            "purged": swept.purged,
            "requests": swept.requests,
            "files": [str(path) for path in swept.files],
        }

    told = asyncio.run(_with_store(settings, sweep))
    if as_json:
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    for kind, count in told["purged"].items():
        click.echo(f"{kind.replace('_', ' ')}: {count} {'would go' if dry_run else 'archived and purged'}")
    if not any(told["purged"].values()):
        click.echo("nothing is old enough")
    if told["requests"]:
        click.echo(f"idempotency keys: {told['requests']} forgotten")
    if told["files"]:
        click.echo(f"{len(told['files'])} files in {settings.archive_folder}")


@retention.command()
@_older_than
@_archive
@_as_json
def show(older_than: str | None, archive: Path | None, as_json: bool) -> None:
    """What is set, what is due, and what was archived."""
    settings = Settings.load(retention=older_than, archive_dir=archive)
    age = settings.retention_seconds

    async def look(database: Database) -> Due:
        found = retention_of(settings, database, archive_of(settings))
        return await found.due(age if age is not None else float("inf"))

    found = asyncio.run(_with_store(settings, look))
    files, size = archive_of(settings).size()
    if as_json:
        document = {
            "retention_s": age,
            "due": found.counts,
            "oldest_end": None if found.oldest_end is None else timestamp(found.oldest_end),
            "purged_runs": found.purged_before,
            "idempotency_keys_kept_s": max(KEYS_KEPT, age or 0.0),
            "archive": {"folder": str(settings.archive_folder), "files": files, "bytes": size},
        }
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    kept = "for ever; set ANTIPHON_RETENTION to change that" if age is None else f"{timedelta(seconds=age)}"
    click.echo(f"ended runs are kept: {kept}")
    if age is not None:
        waiting = ", ".join(
            f"{count} {kind.replace('_', ' ')}" for kind, count in found.counts.items() if count
        )
        click.echo(f"due now: {waiting or 'nothing'}")
    if found.oldest_end is not None:
        click.echo(f"the oldest ended run ended at {timestamp(found.oldest_end)}")
    click.echo(f"purged so far: {found.purged_before} runs")
    click.echo(f"archive: {files} files, {size} bytes in {settings.archive_folder}")


async def _with_store(settings: Settings, work: Callable[[Database], Awaitable[Any]]) -> Any:
    async with open_store(settings) as database:
        return await work(database)
