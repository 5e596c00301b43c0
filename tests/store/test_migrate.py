"""Migrations: where they lead, who may run them together, and who is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

from contracts.errors import ConfigurationError
from store.database import Database
from store.migrate import migrate, migrated, require_migrated
from store.tables import metadata


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
