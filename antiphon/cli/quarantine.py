"""``antiphon quarantine``: what was refused, and what becomes of it."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import click
import orjson
from sqlalchemy import Connection

from antiphon.rooms import open_bus, open_store
from antiphon.settings import Settings
from antiphon.signing import operators_bus
from contracts.envelope import timestamp
from contracts.errors import NotQuarantined
from contracts.signing import ORIGIN_KID
from gateway.messages import shown_body
from gateway.queries.dead_letters import Quarantined, get_quarantined, list_quarantine
from gateway.queries.page import Page
from reactors.quarantine_desk import QuarantineDesk
from store.database import Database

__all__ = ["quarantine"]

T = TypeVar("T")
_MOST = 500

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
_workspace = click.option(
    "--workspace", help="Whose messages, beside those that named none; ANTIPHON_WORKSPACE."
)
_reason = click.option("--reason", required=True, help="Why; it is kept in the audit trail.")
_with_reason = click.option("--only", help="Only what was refused for this reason (stale, off-contract, …).")


@click.group()
def quarantine() -> None:
    """What was refused, and what becomes of it."""


@quarantine.command("list")
@click.option(
    "--status", type=click.Choice(["held", "releasing", "released", "discarded", "all"]), default="held"
)
@_with_reason
@_workspace
@_as_json
def list_(status: str, only: str | None, workspace: str | None, as_json: bool) -> None:
    """What was refused, the newest first."""
    settings = Settings.load(workspace=workspace)
    found = asyncio.run(_with_store(settings, lambda database: _list(database, settings, status, only)))
    if as_json:
        click.echo(orjson.dumps([_summary(one) for one in found], option=orjson.OPT_INDENT_2).decode())
        return
    for one in found:
        click.echo(f"{one.id}  {timestamp(one.received_at)}  {one.queue}  {one.reason}: {one.detail}")
    if not found:
        click.echo("nothing is in quarantine")


@quarantine.command()
@click.argument("id")
@_workspace
def show(id: str, workspace: str | None) -> None:
    """One message, as it came."""
    settings = Settings.load(workspace=workspace)

    async def find(database: Database) -> Quarantined | None:
        return await database.read(lambda conn: get_quarantined(conn, settings.workspace, id, unclaimed=True))

    found = asyncio.run(_with_store(settings, find))
    if found is None:
        raise NotQuarantined(f"there is no message {id!r} in quarantine in workspace {settings.workspace!r}")
    message = {"content_type": found.content_type, "headers": found.headers, **shown_body(found.body)}
    document = {**_summary(found), "message": message}
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


@quarantine.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_reason
@_with_reason
@_workspace
def release(ids: tuple[str, ...], reason: str, only: str | None, workspace: str | None) -> None:
    """Put messages back on the queues that they were taken from, signed by an operator's key, or with --only
    all that were refused for one reason. What is off contract will be refused again."""
    settings = Settings.load(workspace=workspace)

    async def work(database: Database) -> int:
        chosen = ids or await _ids(database, settings, only)
        async with open_bus(settings, database, over=lambda bus: operators_bus(settings, bus)) as bus:
            desk, own = QuarantineDesk(database, bus), [settings.workspace, ""]
            return sum(
                [
                    await desk.release(own, *chosen[at : at + _MOST], actor=_actor(), reason=reason)
                    for at in range(0, len(chosen), _MOST)
                ]
            )

    click.echo(f"{asyncio.run(_with_store(settings, work))} released")


@quarantine.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_reason
@_with_reason
@_workspace
def discard(ids: tuple[str, ...], reason: str, only: str | None, workspace: str | None) -> None:
    """Give messages up for good, or with --only all that were refused for one reason. They stay to see."""
    settings = Settings.load(workspace=workspace)

    async def work(database: Database) -> int:
        chosen = ids or await _ids(database, settings, only)
        desk, own = QuarantineDesk(database, None), [settings.workspace, ""]
        return sum(
            [
                await desk.discard(own, *chosen[at : at + _MOST], actor=_actor(), reason=reason)
                for at in range(0, len(chosen), _MOST)
            ]
        )

    click.echo(f"{asyncio.run(_with_store(settings, work))} discarded")


async def _with_store(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    async with open_store(settings) as database:
        return await work(database)


async def _ids(database: Database, settings: Settings, only: str | None) -> list[str]:
    if only is None:
        raise click.UsageError("name messages by their ids, or a reason with --only")
    return [one.id for one in await _list(database, settings, "held", only)]


async def _list(database: Database, settings: Settings, status: str, only: str | None) -> list[Quarantined]:
    wanted = None if status == "all" else status

    def read(cursor: str | None, conn: Connection) -> Page[Quarantined]:
        return list_quarantine(
            conn, settings.workspace, unclaimed=True, status=wanted, cursor=cursor, most=_MOST
        )

    found: list[Quarantined] = []
    cursor: str | None = None
    while True:
        page = await database.read(partial(read, cursor))
        found += [one for one in page.items if only in (None, one.reason)]
        cursor = page.next
        if cursor is None:
            return found


def _summary(one: Quarantined) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in ("id", "workspace", "queue", "reason", "detail", "status")},
        "message_id": one.message_id,
        "received_at": timestamp(one.received_at),
        "kid": one.headers.get(ORIGIN_KID) or one.headers.get("x-antiphon-kid"),
    }


def _actor() -> str:
    return f"terminal:{getpass.getuser()}"
