"""Who is at work on a store that is to be migrated."""

from __future__ import annotations

from alembic import op

from contracts.errors import ConfigurationError

__all__ = ["refuse_owners"]


def refuse_owners(revision: str, why: str) -> None:
    """Raises ConfigurationError while orchestrators own partitions of a PostgreSQL store, and says ``why``.

    (An embedded store has one process, which is the one that migrates it.)
    """
    if op.get_bind().dialect.name != "postgresql":
        return
    owners = op.get_bind().exec_driver_sql(
        "SELECT DISTINCT owner FROM partitions "
        "WHERE owner IS NOT NULL AND lease_until > extract(epoch from clock_timestamp())"
    )
    found = ", ".join(owners.scalars())
    if found:
        raise ConfigurationError(
            f"orchestrators of an older version are at work ({found}), and {why} after migration {revision}: "
            "stop every orchestrator, then migrate (one that was killed counts until its lease of a few "
            "seconds ends)"
        )
