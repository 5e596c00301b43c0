"""``antiphon partitions``: how many the store has, who owns them, and more of them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click
import orjson
from sqlalchemy import Connection, select

from antiphon.rooms import open_store
from antiphon.settings import Settings
from gateway.queries.processes import Partition, Process, list_partitions, list_processes
from orchestrator.growth import grow

__all__ = ["partitions"]


@click.command()
@click.option("--to", "number", type=click.IntRange(1, 1_024), help="Give the store so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def partitions(number: int | None, as_json: bool) -> None:
    """Slices of the runs: an orchestrator owns some, and no more than so many can share the work.

    \b
    How many there are, and who owns each:
      antiphon partitions
    More, once every orchestrator is stopped (some three seconds for each 100,000 runs, ended ones too):
      antiphon partitions --to 16

    Then start them again; ANTIPHON_PARTITIONS, where it is set, says the new number first. Other roles may go
    on meanwhile: what they send to a partition of before is sent on, until they are started again, too. Only
    more are possible. With a provisioned broker, make the new queues first:

    \b
      ANTIPHON_PARTITIONS=16 antiphon broker provision shop.app:app
    """
    settings = Settings.load()
    told, line = asyncio.run(_look(settings) if number is None else _grow(settings, number))
    click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() if as_json else line)


async def _look(settings: Settings) -> tuple[object, str]:
    async with open_store(settings) as database:
        clock = select(database.now())

        def look(conn: Connection) -> tuple[list[Partition], list[Process]]:
            now = conn.execute(clock).scalar_one()
            return list_partitions(conn, now), list_processes(conn, now)

        found, processes = await database.read(look)
    owners = {str(each.id): each.owner if each.held else None for each in found}
    names = {each.id: each.name for each in processes if each.id in owners.values()}
    lines = [f"{len(owners)} partitions" if owners else "none yet: the first process that starts makes them"]
    for number, owner in owners.items():
        at = f" at {names[owner]}" if owner in names else ""
        lines.append(f"{number}: {owner}{at}" if owner else f"{number}: nobody owns it now")
    return {"partitions": len(owners), "owners": owners, "names": names}, "\n".join(lines)


async def _grow(settings: Settings, number: int) -> tuple[object, str]:
    async with open_store(settings) as database:
        now = database.now()
        growth = await database.write(lambda connection: grow(connection, number, now=now))
    if growth.before == growth.now:
        return asdict(growth), f"{growth.now} partitions, as before"
    return asdict(growth), f"{growth.now} partitions instead of {growth.before}; {growth.moved} runs moved"
