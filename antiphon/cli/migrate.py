"""``antiphon migrate``."""

from __future__ import annotations

import asyncio

import click

from antiphon.settings import Settings, without_password
from antiphon.tls import database_url
from store.connect import file_of
from store.migrate import migrate as bring_up_to_date
from store.migrate import migrated

__all__ = ["migrate"]


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Only say whether it is; exit code 1 if not.")
def migrate(only_check: bool) -> None:
    """Bring the database to this version's schema. Safe to run twice, and from several places."""
    settings = Settings.load()
    url = database_url(settings)
    shown = without_password(url)
    file = file_of(url)
    if only_check:
        # A file that is not there must not be made by a look at it: other commands say where it is not.
        current = (file is None or file.exists()) and asyncio.run(migrated(url))
        click.echo(f"{shown}: {'up to date' if current else 'not up to date; run antiphon migrate'}")
        raise SystemExit(0 if current else 1)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    asyncio.run(bring_up_to_date(url))
    click.echo(f"{shown}: up to date")
