"""What is old enough to leave the store, kind by kind: how it is found, written down and dropped.

A story leaves from its end: first its runs, and once none of them is left, its events, reactions and dead
letters. What has not ended stays, however old: open runs, reactions under way, dead letters that nobody has
settled; an ended child, until its parent has ended too; and a run from which one was made that is open.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Table, and_, exists, func, not_, or_, select, true

from contracts.deep import written
from store import tables
from store.bulk import delete_rows, insert_rows, select_rows
from store.lookups import runs_of_story
from store.requests import ACCEPTED, CLIENT

__all__ = ["SHELVES", "Batch", "Runs", "Shelf", "drop_runs", "forget_requests"]

_MOST_FACTS = 20_000  # of one batch: a few runs may have as much history as many
_OF_A_RUN = ("run_created_at", "run_id")
_JSON = {"input", "state", "result", "error", "data", "headers", "reply"}


@dataclass(slots=True)
class Batch:
    """Some rows of one kind: their lines for the archive, and their keys."""

    lines: list[bytes] = field(default_factory=list)
    keys: list[tuple[Any, ...]] = field(default_factory=list)
    after: Any = None  # where the next batch begins


@dataclass(frozen=True, slots=True)
class Runs:
    """The ended runs of one partition, with their histories."""

    partition: int

    def count(self, conn: Connection, before: float) -> int:
        """How many are old enough."""
        return conn.execute(select(func.count()).where(*self._old(before))).scalar_one()

    def take(self, conn: Connection, before: float, most: int) -> Batch:
        """The oldest of them."""
        runs = tables.runs.c
        query = select(tables.runs).where(*self._old(before)).order_by(runs.ended_at).limit(most)
        taken: list[Row[Any]] = []
        facts = 0
        for run in conn.execute(query):
            if taken and facts + run.seq > _MOST_FACTS:
                break
            taken.append(run)
            facts += run.seq
        histories: dict[str, list[dict[str, Any]]] = {}
        rows = select_rows(conn, tables.history, [(run.created_at, run.id) for run in taken], by=_OF_A_RUN)
        for fact in sorted(rows, key=lambda row: (row.run_id, row.seq)):
            histories.setdefault(fact.run_id, []).append(_plain(fact, without=_OF_A_RUN))
        batch = Batch()
        for run in taken:
            batch.keys.append((run.id, run.workspace, run.status, run.ended_at, run.created_at, run.seq))
            batch.lines.append(_line("run", _plain(run), history=histories.get(run.id, [])))
        return batch

    def _old(self, before: float) -> list[ColumnElement[bool]]:
        runs, parent = tables.runs.c, tables.runs.alias("parent")
        waited_for = exists().where(parent.c.id == runs.parent, parent.c.ended_at.is_(None))
        # In the order of the index runs_partition_ended, which serves this.
        return [
            runs.partition == self.partition,
            runs.ended_at < before,
            not_(waited_for),
            not_(_at_work(before)),
        ]


def _at_work(before: float) -> ColumnElement[bool]:
    """Whether what was made from an ended run goes on: the events of its key come by way of this one.

    Or may begin yet: where this one was changed since ``before``, its start may still be on its way.
    """
    runs, again = tables.runs.c, tables.runs.alias("again").c
    made = exists().where(
        again.workspace == runs.workspace,
        again.correlation == runs.correlation,
        again.correlation != again.id,  # so that the index by stories serves this
        again.linked_from.is_not(None),
        again.flow == runs.flow,
        again.key == runs.key,
        again.ended_at.is_(None),
    )
    # A story may have thousands of runs, of which hardly any was made again: it is looked at for these alone.
    return and_(runs.state.contains('"reruns":'), or_(runs.updated_at >= before, made))


def drop_runs(conn: Connection, keys: Sequence[tuple[Any, ...]], at: float) -> None:
    """Take runs out, with all that is theirs alone; what is left is that they were there.

    Keys are as in a batch of ``Runs``: id, workspace, status, when it ended, when it was created, and the
    number of its newest fact. One that has another by now stays: it was made again while it was archived.
    """
    numbers = [(id, seq) for id, *_, seq in keys]
    same = select_rows(conn, tables.runs, numbers, by=("id", "seq"), columns=("id",), lock=True)
    unchanged = {row.id for row in same}
    keys = [key for key in keys if key[0] in unchanged]
    left = [
        {"run_id": id, "workspace": workspace, "status": status, "ended_at": ended_at, "purged_at": at}
        for id, workspace, status, ended_at, *_ in keys
    ]
    insert_rows(conn, tables.purged, left, on_conflict="ignore")
    ids = [(id,) for id, *_ in keys]
    delete_rows(conn, tables.history, [(created_at, id) for id, *_, created_at, _ in keys], by=_OF_A_RUN)
    for table in (tables.marks, tables.timers, tables.early_events):
        delete_rows(conn, table, ids, by=("run_id",))
    delete_rows(conn, tables.runs, ids)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Rows of a table that leave once they are old, nothing of theirs is open, and their story has no run."""

    kind: str
    table: Table
    at: ColumnElement[float]
    settled: tuple[ColumnElement[bool], ...] = ()

    def count(self, conn: Connection, before: float) -> int:
        """How many would go, once the runs that are old enough have gone."""
        old = (self.at < before, *self.settled, _alone(self.table, before))
        return conn.execute(select(func.count()).select_from(self.table).where(*old)).scalar_one()

    def take(self, conn: Connection, before: float, most: int, after: float | None = None) -> Batch:
        """The oldest of them, from ``after`` on: what stays would else be looked at again and again."""
        query = select(self.table).where(self.at < before, *self.settled, _alone(self.table))
        if after is not None:
            query = query.where(self.at >= after)
        batch = Batch()
        for row in conn.execute(query.order_by(self.at).limit(most)):
            batch.keys.append(tuple(getattr(row, column.name) for column in self.table.primary_key))
            batch.lines.append(_line(self.kind, _plain(row)))
            batch.after = getattr(row, str(self.at.key))
        return batch

    def drop(self, conn: Connection, keys: Sequence[tuple[Any, ...]]) -> None:
        """Take rows out; what is settled does not change any more."""
        delete_rows(conn, self.table, keys)


def _alone(table: Table, before: float | None = None) -> ColumnElement[bool]:
    """Whether no run is left that a row belongs to; of the runs of ``before``, as if they had gone."""
    runs = tables.runs.c
    if table is tables.early_events:
        mine: tuple[ColumnElement[bool], ...] = (runs.id == table.c.run_id,)
    else:
        mine = runs_of_story(table.c.workspace, table.c.correlation)
    left = or_(runs.ended_at.is_(None), runs.ended_at >= before) if before is not None else true()
    return and_(*(not_(exists().where(each, left)) for each in mine))


SHELVES = (
    Shelf("event", tables.events, tables.events.c.at),
    Shelf(
        "reaction",
        tables.reactions,
        tables.reactions.c.finished_at,
        (tables.reactions.c.status.in_(("done", "discarded")),),
    ),
    Shelf(
        "dead_letter",
        tables.dead_letters,
        tables.dead_letters.c.settled_at,
        (tables.dead_letters.c.status.in_(("redriven", "discarded")),),
    ),
    # For runs that never came.
    Shelf("early_event", tables.early_events, tables.early_events.c.at),
)


def forget_requests(conn: Connection, before: float, most: int) -> int:
    """Forget idempotency keys of before, and notes of accepted runs that are there by now; how many."""
    table = tables.idempotency.c
    there = func.substr(table.key, len(ACCEPTED) + 1)
    started = or_(exists().where(tables.runs.c.id == there), exists().where(tables.purged.c.run_id == there))
    mine = or_(table.key.startswith(CLIENT), and_(table.key.startswith(ACCEPTED), started))
    query = select(table.workspace, table.key).where(table.created_at < before, mine)
    keys = [tuple(row) for row in conn.execute(query.order_by(table.created_at).limit(most))]
    return delete_rows(conn, tables.idempotency, keys)


def _line(kind: str, row: dict[str, Any], **more: Any) -> bytes:
    return written({"kind": kind, kind: row, **more})


def _plain(row: Row[Any], without: Sequence[str] = ()) -> dict[str, Any]:
    """A row as JSON: texts that hold JSON decoded, bytes as base64."""
    found: dict[str, Any] = {}
    for column, value in zip(row._fields, row, strict=True):
        name = str(column)  # a column that is named like a keyword is no plain text to begin with
        if name in without:
            continue
        if isinstance(value, bytes | memoryview):
            found[name + "_base64"] = base64.b64encode(value).decode()
        elif name in _JSON and value is not None:
            found[name] = orjson.loads(value)
        else:
            found[name] = value
    return found
