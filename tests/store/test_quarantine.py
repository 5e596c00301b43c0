"""What is refused is held; and what becomes of it when it is refused once more."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from store.database import Database
from store.quarantine import hold, quarantined
from store.tables import quarantine


def refused(id: str, *, at: float = 1.0, redelivered: bool = False, **more: Any) -> dict[str, Any]:
    """The row of a message."""
    said: dict[str, Any] = {"workspace": "acme", "headers": {"n": 1, "text": "a\x00b"}, **more}
    return quarantined(
        queue="q",
        reason="malformed",
        detail="no JSON",
        message_id=id,
        content_type="application/json",
        body=b"{",
        at=at,
        redelivered=redelivered,
        **said,
    )


async def kept(database: Database) -> dict[str, tuple[str, float]]:
    """Each message's status, and when it was refused last."""
    c = quarantine.c
    rows = await database.read(
        lambda connection: connection.execute(select(c.message_id, c.status, c.received_at)).all()
    )
    return {row.message_id: (row.status, row.received_at) for row in rows}


@pytest.mark.parametrize("status", ["held", "releasing", "released", "discarded"])
async def test_what_was_discarded_and_is_only_redelivered_stays_so(database: Database, status: str) -> None:
    """Everything else that is refused again is held again: it was on its queue again."""

    async def refuse(*rows: dict[str, Any]) -> None:
        await database.write(lambda connection: hold(connection, rows))

    await refuse(refused("first"), refused("again"), refused("other"))
    await database.write(lambda connection: connection.execute(update(quarantine).values(status=status)))
    await refuse(refused("first", at=2.0), refused("again", at=2.0, redelivered=True))
    again = ("discarded", 1.0) if status == "discarded" else ("held", 1.0 if status == "held" else 2.0)
    assert await kept(database) == {
        "first": ("held", 1.0 if status == "held" else 2.0),
        "again": again,
        "other": (status, 1.0),
    }


async def test_a_redelivered_message_that_is_not_known_is_held(database: Database) -> None:
    """Its process was killed before it had refused it."""
    row = refused("one", redelivered=True)
    await database.write(lambda connection: hold(connection, [row]))
    assert await kept(database) == {"one": ("held", 1.0)}


@pytest.mark.parametrize("other", [{"workspace": "other"}, {"headers": {"cloudEvents:source": "/other"}}])
async def test_two_senders_that_number_alike_are_two_messages(
    database: Database, other: dict[str, Any]
) -> None:
    """An id is of its source only, and a body often `{}`: neither hides the other's message."""
    first = refused("1", headers={"cloudEvents:source": "/acme"})
    second = refused("1", **{"headers": {"cloudEvents:source": "/acme"}, **other})
    await database.write(lambda connection: hold(connection, [first, second]))
    rows = await database.read(lambda connection: connection.execute(select(quarantine)).all())
    assert len(rows) == 2
