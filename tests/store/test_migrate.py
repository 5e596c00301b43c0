"""Migrations: where they lead, who may run them together, and who is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Row, inspect, select

from antiphon.devservices import Postgres
from contracts.errors import ConfigurationError
from store.bulk import insert_rows
from store.database import Database
from store.lookups import of_its_run
from store.migrate import config, migrate, migrated, require_migrated
from store.tables import history, metadata, partitions, runs
from tests.store.old_rows import fact, run


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_the_migrated_schema_is_the_one_in_tables(database: Database) -> None:
    """After all migrations, the database has what ``store.tables`` says, and nothing else."""
    assert await database.read(differences) == []
    tables = await database.read(lambda connection: set(inspect(connection).get_table_names()))
    assert tables == set(metadata.tables) | {"alembic_version"}
    await database.read(require_migrated)


async def test_migrating_again_changes_nothing(lasting_url: str) -> None:
    """A database that is up to date is left alone, whichever way it is migrated."""
    assert not await migrated(lasting_url)
    await migrate(lasting_url)
    await migrate(lasting_url)
    assert await migrated(lasting_url)
    database = await Database.open(lasting_url, migrate=True)
    assert await database.read(differences) == []
    await database.close()


async def test_migrations_side_by_side_take_turns(lasting_url: str) -> None:
    """Three processes and two tasks that migrate at once all succeed."""
    code = "import asyncio, sys; from store.migrate import migrate; asyncio.run(migrate(sys.argv[1]))"
    others = [
        subprocess.Popen([sys.executable, "-c", code, lasting_url], stderr=subprocess.PIPE) for _ in range(3)
    ]
    await asyncio.gather(migrate(lasting_url), migrate(lasting_url))
    for other in others:
        _, errors = await asyncio.to_thread(other.communicate, None, 30)
        assert other.returncode == 0, errors.decode()
    assert await migrated(lasting_url)


async def test_an_unmigrated_database_is_refused_with_the_command_to_run(lasting_url: str) -> None:
    """A role does not start on a database without the tables, and says what to do."""
    database = await Database.open(lasting_url)
    with pytest.raises(ConfigurationError, match="antiphon migrate"):
        await database.read(require_migrated)
    await database.close()


async def test_a_database_that_is_newer_is_refused(lasting_url: str) -> None:
    """A schema of a later version is neither used nor changed."""
    await migrate(lasting_url)
    database = await Database.open(lasting_url)
    await database.write(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"revision 9999.*a newer Antiphon"):
        await database.read(require_migrated)
    for refused in (migrate(lasting_url), migrated(lasting_url), Database.open(lasting_url, migrate=True)):
        with pytest.raises(ConfigurationError, match="9999"):
            await refused
    await database.close()


async def test_a_migration_that_fails_leaves_nothing(lasting_url: str) -> None:
    """A table in the way stops the migration, and none of its other tables is there."""
    database = await Database.open(lasting_url)
    await database.write(lambda c: c.exec_driver_sql("CREATE TABLE timers (something_else integer)"))
    with pytest.raises(Exception, match="timers"):
        await migrate(lasting_url)
    tables = await database.read(lambda connection: inspect(connection).get_table_names())
    assert tables == ["timers"]
    await database.close()


async def test_histories_keep_their_facts_when_their_key_changes(lasting_url: str) -> None:
    """Migration 0006 there and back: every fact is found from its run, those of a lost run are kept."""
    database = await Database.open(lasting_url)
    before = [
        {name: value for name, value in fact(id, seq).items() if name != "run_created_at"}
        for id in ("r1", "r2", "lost")
        for seq in (1, 2)
    ]

    def fill(connection: Connection) -> None:
        command.upgrade(config(connection), "0005")
        insert_rows(connection, runs, [run("r1"), run("r2", created_at=1_700_000_000.123456)])
        insert_rows(connection, history, before)

    def found(connection: Connection) -> list[Row[tuple[str, int]]]:
        query = select(history.c.run_id, history.c.seq, history.c.data).join(runs, of_its_run)
        return list(connection.execute(query.order_by(history.c.run_id, history.c.seq)).all())

    def kept(connection: Connection) -> set[tuple[str, int, str]]:
        rows = connection.exec_driver_sql("SELECT run_id, seq, type, node, data FROM history").all()
        return set(map(tuple, rows))

    await database.write(fill)
    await migrate(lasting_url)
    mine = [("r1", 1, '{"n":1}'), ("r1", 2, '{"n":2}'), ("r2", 1, '{"n":1}'), ("r2", 2, '{"n":2}')]
    assert await database.read(found) == mine
    all_of_them = {tuple(row[name] for name in ("run_id", "seq", "type", "node", "data")) for row in before}
    assert await database.read(kept) == all_of_them
    assert await database.read(differences) == []
    await database.write(lambda connection: command.downgrade(config(connection), "0005"))
    assert await database.read(kept) == all_of_them
    await migrate(lasting_url)
    assert await database.read(found) == mine
    await database.close()


@pytest.mark.parametrize(("before", "number"), [("0005", "0006"), ("0007", "0008")])
async def test_owners_that_could_not_go_on_are_not_migrated_away_from(
    postgres: Postgres, before: str, number: str
) -> None:
    """These migrations name the orchestrators that are at work, and go on once their leases have ended."""
    url = postgres.create_database()
    database = await Database.open(url)

    def own(connection: Connection, until: float) -> None:
        row = {"id": 0, "owner": "old-one", "epoch": 3, "lease_until": until}
        insert_rows(connection, partitions, [row], on_conflict="update")

    await database.write(lambda connection: command.upgrade(config(connection), before))
    await database.write(lambda connection: own(connection, time.time() + 60))
    with pytest.raises(ConfigurationError, match=rf"old-one.*migration {number}: stop every orchestrator"):
        await migrate(url)
    assert not await migrated(url)
    await database.write(lambda connection: own(connection, time.time() - 1))
    await migrate(url)
    assert await migrated(url)
    await database.close()
