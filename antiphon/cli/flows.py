"""``antiphon flows``: the versions in flight, and moving runs between them."""

from __future__ import annotations

import asyncio
import getpass
import secrets
from collections import Counter
from dataclasses import asdict

import click
import orjson

from antiphon.app import App, load_app
from antiphon.cli.chosen import chosen_app
from antiphon.moving import Moved, Version, ids_of, look_at, move_runs, settled, versions_of
from antiphon.rooms import open_bus, open_store, partitions_of
from antiphon.settings import Settings
from antiphon.signing import operators_bus
from contracts.errors import ConfigurationError
from orchestrator.catalog import Catalog
from orchestrator.client import Client
from orchestrator.migration import Move
from orchestrator.objections import Objections
from store.live import open_live

__all__ = ["flows"]

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group()
def flows() -> None:
    """The versions of flows that runs are under way with, and moving runs from one to another.

    \b
    A run keeps the version that it was started with. To take version 1 of a flow out of an app:
      antiphon flows list shop.app:app
      antiphon flows migrate shop.app:app ride --from 1 --to 2 --all --dry-run
      antiphon flows migrate shop.app:app ride --from 1 --to 2 --all --rename quote=estimate
    """


@flows.command("list")
@click.argument("app", required=False, metavar="[MODULE:APP]")
@_as_json
def list_(app: str | None, as_json: bool) -> None:
    """Every version that the app has or a run needs, and how many runs of it are open, in all workspaces."""
    settings, loaded = _load(app)

    async def look() -> list[Version]:
        async with open_store(settings) as database:
            return await versions_of(loaded, database)

    found = asyncio.run(look())
    if as_json:
        click.echo(orjson.dumps([asdict(one) for one in found], option=orjson.OPT_INDENT_2).decode())
        return
    for one in found:
        stuck = f", {one.stuck} stuck" if one.stuck else ""
        note = "" if one.here else "  NOT IN THE APP: these runs can't go on"
        note = "  new runs begin with it" if one.newest else note
        click.echo(f"{one.flow} v{one.version}: {one.open} open{stuck}{note}")


@flows.command()
@click.argument("app", metavar="MODULE:APP")
@click.argument("flow")
@click.option("--from", "old", type=click.IntRange(1), required=True, help="The version that they have.")
@click.option("--to", "new", type=click.IntRange(1), required=True, help="The version to go on with.")
@click.option("--run", "chosen", multiple=True, metavar="ID", help="This run; as often as you like.")
@click.option("--all", "everything", is_flag=True, help="Every open run of that version.")
@click.option(
    "--rename",
    "renames",
    multiple=True,
    metavar="OLD=NEW",
    help="A node that has another name now.",
)
@click.option(
    "--without", multiple=True, metavar="NODE", help="A new node that is passed already and may be left out."
)
@click.option("--dry-run", is_flag=True, help="Only say which could be moved, and why others can't.")
@click.option("--reason", default="", help="Why; it is kept in the history and the audit trail.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0.0),
    default=10.0,
    show_default=True,
    help="Seconds for the owners to do it.",
)
@click.option("--workspace", help="Whose runs; ANTIPHON_WORKSPACE.")
@_as_json
def migrate(
    app: str,
    flow: str,
    old: int,
    new: int,
    chosen: tuple[str, ...],
    everything: bool,
    renames: tuple[str, ...],
    without: tuple[str, ...],
    dry_run: bool,
    reason: str,
    wait: float,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Move runs of FLOW to another version, after a check that says which can't be moved and why.

    Both versions must be in the app. A run is moved when nothing of it would be skipped, repeated or lost:
    docs/operations.md says when that is. Exit code 0: all were moved, or could be. 1: some can't, or their
    owners have not answered yet.
    """
    if bool(chosen) == everything:
        raise click.UsageError("name runs with --run, or take every open one with --all")
    settings, loaded = _load(app, workspace)
    known = {each.version for each in loaded.flows if each.name == flow}
    for version in (old, new):
        if version not in known:
            shown = ", ".join(map(str, sorted(known))) or "none"
            raise ConfigurationError(f"the app has no version {version} of flow {flow!r}; it has: {shown}")
    move = Move(new, dict(map(_pair, renames)), without)
    work = _work(settings, loaded, (flow, old), move, chosen, dry_run=dry_run, reason=reason, wait=wait)
    outcomes = asyncio.run(work)
    if as_json:
        document = {"flow": flow, "from": old, "to": new, "dry_run": dry_run}
        document["runs"] = [asdict(one) for one in outcomes]
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        _tell(outcomes)
    raise SystemExit(0 if all(one.outcome in ("moved", "possible") for one in outcomes) else 1)


def _tell(outcomes: list[Moved]) -> None:
    for one in outcomes:
        click.echo(f"{one.run}  {one.outcome}")
        for reason in one.reasons:
            click.echo(f"    {reason}")
    counts = Counter(one.outcome for one in outcomes)
    click.echo(", ".join(f"{count} {word}" for word, count in counts.items()) or "no run to move")


async def _work(
    settings: Settings,
    app: App,
    came_from: tuple[str, int],
    move: Move,
    chosen: tuple[str, ...],
    *,
    dry_run: bool,
    reason: str,
    wait: float,
) -> list[Moved]:
    workspace = settings.workspace
    async with open_store(settings) as database:
        ids = chosen or await ids_of(database, workspace, *came_from)
        if dry_run:  # beside an embedded house, too, whose bus is its own
            objections = Objections(Catalog(app.flows), database, app.registry.validate)
            return await look_at(objections, database, workspace, ids, move, came_from=came_from)
        async with open_bus(settings, database, over=lambda bus: operators_bus(settings, bus)) as bus:
            client = Client(
                app.flows,
                bus=bus,
                database=database,
                live=open_live(None),
                check=app.registry.validate,
                incarnation=secrets.token_hex(16),
                partitions=await partitions_of(settings, database),
                by_hand=True,
            )
            asked = await move_runs(
                client,
                database,
                workspace,
                ids,
                move,
                came_from=came_from,
                reason=reason,
                actor=f"terminal:{getpass.getuser()}",
            )
        return await settled(database, asked, move.to, wait)


def _load(app: str | None, workspace: str | None = None) -> tuple[Settings, App]:
    settings = Settings.load(app=app, workspace=workspace)
    return settings, load_app(chosen_app(settings, "flows list"))


def _pair(text: str) -> tuple[str, str]:
    before, equals, after = text.partition("=")
    if not (before and equals and after):
        raise click.BadParameter(f"{text!r} is not OLD=NEW", param_hint="--rename")
    return before, after
