"""More partitions for a store that has runs.

A run's partition is a hash of its id modulo their number, so that runs move; facts and marks go by the run
alone, and stay. What is under way on the bus meanwhile, or waits in an outbox, is for the partition of
before: its owner sends it on (``orchestrator.strays``).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, select, update

from contracts.errors import ConfigurationError
from contracts.record import record
from orchestrator import wire
from orchestrator.leases import count_partitions, orchestrators_alive
from store import tables
from store.bulk import insert_rows, update_rows

__all__ = ["Growth", "grow"]

_PAGE = 10_000


@record
class Growth:
    """From how many partitions to how many, and how many runs have another one now."""

    before: int
    now: int
    moved: int


def grow(connection: Connection, partitions: int, *, now: ColumnElement[float]) -> Growth:
    """Give the store so many partitions, whole or not at all.

    Raises ConfigurationError where it has none yet or more, and while an orchestrator lives: it would go on
    with the number that it began with.
    """
    owners = select(tables.partitions.c.owner, tables.partitions.c.lease_until)
    held = connection.execute(owners.order_by(tables.partitions.c.id).with_for_update()).all()
    before = count_partitions(connection)
    if not before:
        raise ConfigurationError(
            "this store has no partitions yet: set ANTIPHON_PARTITIONS, and the first process makes as many"
        )
    if partitions < before:
        raise ConfigurationError(f"this store has {before} partitions: their number can only grow")
    reading = float(connection.execute(select(now)).scalar_one())
    alive = orchestrators_alive(connection, reading)
    alive |= {row.owner for row in held if row.owner is not None and row.lease_until > reading}
    if alive:
        raise ConfigurationError(
            f"orchestrators are at work ({', '.join(sorted(alive))}): stop every one of them, then try again "
            "(one that was killed counts until its lease of a few seconds ends)"
        )
    if partitions == before:
        return Growth(before, before, 0)
    moved = _move(connection, tables.runs, tables.runs.c.id, partitions)
    for table in (tables.timers, tables.early_events):
        _move(connection, table, table.c.run_id, partitions)
    # A commit of the last owner that is still under way somewhere is fenced off, as by the next one.
    fenced = {"epoch": tables.partitions.c.epoch + 1, "owner": None, "lease_until": 0.0}
    connection.execute(update(tables.partitions).values(fenced))
    insert_rows(connection, tables.partitions, [{"id": number} for number in range(before, partitions)])
    return Growth(before, partitions, moved)


def _move(connection: Connection, table: Table, run_id: Column[Any], partitions: int) -> int:
    """Put each row where its run belongs now; how many rows' runs that were."""
    moved, after = 0, ""
    while True:
        page = select(run_id, table.c.partition).where(run_id > after).distinct()
        rows = connection.execute(page.order_by(run_id).limit(_PAGE)).all()
        if not rows:
            return moved
        after = rows[-1][0]
        changes = [
            {run_id.name: id, "partition": right}
            for id, partition in rows
            if (right := wire.partition_of(id, partitions)) != partition
        ]
        update_rows(connection, table, changes, keys=(run_id.name,))
        moved += len(changes)
