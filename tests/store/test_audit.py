"""The audit trail is a chain for each workspace."""

from __future__ import annotations

import asyncio
from functools import partial

from sqlalchemy import Connection

from store.audit import append_audit, first_broken
from store.database import Database
from store.tables import audit


def entry(workspace: str, target: str, conn: Connection) -> str:
    return append_audit(
        conn,
        workspace=workspace,
        at=1.5,
        actor="ada",
        action="redrive",
        target=target,
        reason="why",
        detail={"n": 1},
    )


async def test_every_workspace_has_a_chain_of_its_own(database: Database) -> None:
    """Entries written side by side follow each other, and one tenant's chain needs no other's."""
    works = [partial(entry, workspace, str(n)) for n in range(10) for workspace in ("one", "two")]
    digests = await asyncio.gather(*map(database.write, works))
    assert len(set(digests)) == len(works)
    for workspace in ("one", "two"):
        assert await database.read(lambda conn, chain=workspace: first_broken(conn, chain)) is None


async def test_an_entry_taken_out_breaks_the_chain(database: Database) -> None:
    """The one after it no longer follows from the one before."""
    for target in ("a", "b", "c"):
        await database.write(partial(entry, "one", target))
    await database.write(lambda conn: conn.execute(audit.delete().where(audit.c.target == "b")))
    assert await database.read(lambda conn: first_broken(conn, "one")) is not None


async def test_an_entry_changed_breaks_the_chain(database: Database) -> None:
    """Whoever is named instead of the actor, the digest is another's."""
    await database.write(partial(entry, "one", "a"))
    await database.write(lambda conn: conn.execute(audit.update().values(actor="eve")))
    assert await database.read(lambda conn: first_broken(conn, "one")) is not None
