"""Which orchestrator owns which partition, until when, and in which epoch.

The table ``partitions`` is the only truth, and the store's clock the only time. Taking a partition
grows its epoch; that, checked inside of each commit, is what stops an old owner. The lease only keeps
two from working at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update

from contracts.errors import ConfigurationError
from store import tables
from store.bulk import insert_rows

__all__ = [
    "Round",
    "count_partitions",
    "keep_leases",
    "leave",
    "make_partitions",
    "orchestrators_alive",
    "release",
]

_ROLES = ("orchestrator", "leaving")
_KEPT = 86_400.0  # seconds that the row of one that died is kept

_partitions = tables.partitions.c
_processes = tables.processes.c


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of lease keeping came to. ``now`` is the store's clock.

    ``owned`` maps partition to epoch. ``surplus`` are partitions that another orchestrator should
    have: hand them over. ``next_end``: in how many seconds the first lease of another ends, unless it is
    renewed before.
    """

    now: float
    owned: dict[int, int] = field(default_factory=dict)
    surplus: tuple[int, ...] = ()
    next_end: float | None = None


def count_partitions(connection: Connection) -> int:
    """How many the store has; 0: none yet."""
    return int(connection.execute(select(func.count()).select_from(tables.partitions)).scalar_one())


def make_partitions(connection: Connection, count: int) -> int:
    """Make the partitions of a new store; the number of an old one must be the same.

    Raises ConfigurationError when the store has another number.
    """
    if not count_partitions(connection):
        insert_rows(connection, tables.partitions, [{"id": n} for n in range(count)], on_conflict="ignore")
    # Counted after the insert, which waits for whoever makes them at the same moment.
    found = count_partitions(connection)
    if found != count:
        raise ConfigurationError(
            f"this store has {found} partitions, and the setting says {count}: set "
            f"ANTIPHON_PARTITIONS={found}, or leave it unset (`antiphon partitions --to` gives a store more)"
        )
    return found


def orchestrators_alive(connection: Connection, now: float) -> set[str]:
    """Those that have shown life, whether they own anything or not."""
    alive = select(_processes.id).where(_processes.role.in_(_ROLES), _processes.alive_until > now)
    return set(connection.execute(alive).scalars())


def keep_leases(
    connection: Connection,
    *,
    owner: str,
    name: str,
    now: ColumnElement[float],
    lease: float,
    partitions: int,
    leaving: bool = False,
) -> Round:
    """One round: show that ``owner`` lives, renew what it holds, take what is free and due to it.

    ``leaving``: take nothing new. Raises ConfigurationError when the store has not as many ``partitions``
    as this process believes.
    """
    reading = float(connection.execute(select(now)).scalar_one())
    _show_life(connection, owner, name, reading, lease, leaving)
    mine = _held(connection, owner, reading)
    rows = connection.execute(
        select(_partitions.id, _partitions.owner, _partitions.lease_until).order_by(_partitions.id)
    ).all()
    if mine:
        connection.execute(
            update(tables.partitions)
            .where(_partitions.owner == owner, _partitions.id.in_(mine))
            .values(lease_until=reading + lease)
        )
    share = _share(connection, owner, len(rows), reading)
    if leaving:
        return Round(reading, mine)
    free = [row.id for row in rows if row.owner is None or row.lease_until <= reading]
    for partition in free[: max(0, share - len(mine))]:
        epoch = _take(connection, partition, owner, reading, lease)
        if epoch is not None:
            mine[partition] = epoch
    # Asked when all that is taken is locked: whoever gives the store more waits for that, or was before it.
    found = count_partitions(connection)
    if found != partitions:
        raise ConfigurationError(
            f"the store has {found} partitions now, and this process began with {partitions}: start it again"
        )
    surplus = tuple(sorted(mine, reverse=True)[: max(0, len(mine) - share)])
    ends = [row.lease_until - reading for row in rows if row.owner not in (None, owner)]
    return Round(reading, mine, surplus, min((end for end in ends if end > 0), default=None))


def _held(connection: Connection, owner: str, now: float) -> dict[int, int]:
    """Partition and epoch of the leases that still hold.

    Locked in the order of commits, so that a round and a commit never wait for each other.
    """
    rows = connection.execute(
        select(_partitions.id, _partitions.epoch, _partitions.lease_until)
        .where(_partitions.owner == owner)
        .order_by(_partitions.id)
        .with_for_update()
    )
    return {row.id: row.epoch for row in rows if row.lease_until > now}


def release(connection: Connection, owner: str, partitions: Iterable[int]) -> None:
    """Give partitions up, so that the next owner need not wait for the lease to end."""
    connection.execute(
        update(tables.partitions)
        .where(_partitions.owner == owner, _partitions.id.in_(list(partitions)))
        .values(owner=None, lease_until=0.0)
    )


def leave(connection: Connection, owner: str) -> None:
    """The process is gone for good, and so is what it held and never heard of."""
    mine = update(tables.partitions).where(_partitions.owner == owner)
    connection.execute(mine.values(owner=None, lease_until=0.0))
    connection.execute(delete(tables.processes).where(_processes.id == owner))


def _show_life(
    connection: Connection, owner: str, name: str, now: float, lease: float, leaving: bool
) -> None:
    row = {
        "id": owner,
        "role": _ROLES[leaving],
        "name": name,
        "started_at": now,
        "alive_until": now + lease,
    }
    changed = connection.execute(
        update(tables.processes)
        .where(_processes.id == owner)
        .values(alive_until=row["alive_until"], role=row["role"])
    )
    if changed.rowcount == 0:
        insert_rows(connection, tables.processes, [row], on_conflict="ignore")
        # A new one looks after those that died and could not sign off.
        dead = _processes.alive_until < now - _KEPT
        connection.execute(delete(tables.processes).where(_processes.role.in_(_ROLES), dead))


def _share(connection: Connection, owner: str, partitions: int, now: float) -> int:
    """How many partitions are due to this orchestrator: the first in order get what is left over."""
    living = sorted(
        connection.execute(
            select(_processes.id).where(_processes.role == "orchestrator", _processes.alive_until > now)
        ).scalars()
    )
    if owner not in living:
        return 0
    least, rest = divmod(partitions, len(living))
    return least + (1 if living.index(owner) < rest else 0)


def _take(connection: Connection, partition: int, owner: str, now: float, lease: float) -> int | None:
    """Take a free partition; None when somebody else was faster.

    One that a commit still holds is left to the next round: an owner that was frozen in the middle of a
    transaction keeps its rows locked until the server ends that, and the others must not wait for it.
    """
    free = connection.execute(
        select(_partitions.id)
        .where(
            _partitions.id == partition,
            or_(_partitions.owner.is_(None), _partitions.lease_until <= now),
        )
        .with_for_update(skip_locked=True)
    )
    if free.one_or_none() is None:
        return None
    connection.execute(
        update(tables.partitions)
        .where(_partitions.id == partition)
        .values(owner=owner, epoch=_partitions.epoch + 1, lease_until=now + lease)
    )
    epoch: int = connection.execute(select(_partitions.epoch).where(_partitions.id == partition)).scalar_one()
    return epoch
