"""The journal: where runs, histories, timers and the outbox are durable. Its one verb is ``commit``.

A commit carries all that one partition decided in a batch, and takes effect whole or not at all. The
epoch is checked inside of the transaction, so that an owner that has lost its lease can't commit,
whatever it believes. A commit that is repeated because its answer was lost is answered again and not
applied twice: each partition remembers the id of its newest one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Row, literal, select, text, tuple_

from contracts.crash import reached
from contracts.errors import Fenced
from contracts.record import record
from orchestrator.facts import Fact
from orchestrator.happenings import EventArrived
from orchestrator.outbox import Destination, Post, outbox_row, read_behind, read_left
from orchestrator.records import (
    CHANGED,
    FACT,
    MOVED,
    NEW,
    changed_row,
    fact_row,
    load_run,
    moved_row,
    new_row,
    readable_runs,
)
from orchestrator.run import Run
from store import tables
from store.bulk import Together, answers_of, ask_together, insert_rows, select_rows, update_rows
from store.database import Database
from store.quarantine import hold
from store.shortcut import Shortcut, Single

__all__ = ["FIRST_TIMER", "Change", "Commit", "Journal", "Knowledge", "Post", "Question", "TimerKey"]

TimerKey = tuple[float, str, str]  # when it is due, its run and its name
FIRST_TIMER: TimerKey = (0.0, "", "")

_Found = Mapping[str, Any]  # a row


@dataclass(slots=True)
class Change:
    """What one batch did to one run. ``stood``: its standing before; None where that is not known."""

    run: Run
    created: bool = False
    stood: tuple[str, int, float | None] | None = None
    facts: list[Fact] = field(default_factory=list)
    timers: dict[str, float | None] = field(default_factory=dict)  # None: cleared
    posts: list[Post] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)  # rows of ``events``
    marks: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)  # early events that the run has now

    @property
    def moved(self) -> bool:
        """Whether its standing is another one now."""
        return self.run.standing != self.stood


@dataclass(slots=True)
class Commit:
    """A batch of one partition. ``id`` is new for each batch and the same for each try of it."""

    partition: int
    epoch: int
    id: str
    changes: list[Change] = field(default_factory=list)
    early: list[dict[str, Any]] = field(default_factory=list)  # rows of ``early_events``
    published: list[int] = field(default_factory=list)  # positions that the broker has confirmed
    refused: list[dict[str, Any]] = field(default_factory=list)  # rows of ``quarantine``

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self.changes or self.early or self.published or self.refused)


@record
class Question:
    """What a batch must know before it decides: runs, which (run, message) were taken, early events."""

    runs: tuple[str, ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    starting: tuple[str, ...] = ()


@dataclass(slots=True)
class Knowledge:
    """The answer. Missing runs are not there; early events are by run, oldest first."""

    runs: dict[str, Run] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)
    early: dict[str, list[EventArrived]] = field(default_factory=dict)
    purged: set[str] = field(default_factory=set)  # of those that are to start: they ended, and were purged


class Journal:
    """The journal of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._commits = database.group(apply_commits, Shortcut(_at_once, _committed))
        self._questions = database.group_read(_answer, Shortcut(_asked, _answered))

    async def commit(self, commit: Commit) -> None:
        """Make a batch durable. Raises Fenced, or StoreUnavailable: then commit the same again."""
        await self._commits.submit(commit)

    async def ask(self, question: Question) -> Knowledge:
        """What is known; the questions of many partitions are one query each."""
        return await self._questions.submit(question)

    async def busy(self, partition: int) -> list[Run]:
        """The runs whose work was in the hands of this partition's last owner; the unreadable are logged."""
        # In the words of the index: a plan that PostgreSQL makes for any value can't use it for this one.
        query = select(tables.runs).where(tables.runs.c.partition == partition, text("busy = 1"))

        def read(connection: Connection) -> list[Run]:
            return readable_runs(row._asdict() for row in connection.execute(query))

        return await self._database.read(read)

    async def outbox(self, partition: int) -> list[Post]:
        """What was committed and is not known to be published, oldest first; see ``read_left``."""
        return await self._database.read(read_left(partition))

    async def outbox_behind(self, partition: int, to: Destination, after: int) -> list[Post]:
        """What goes to one destination and comes behind position ``after``; see ``read_behind``."""
        return await self._database.read(read_behind(partition, to, after))

    async def timers(
        self, partition: int, until: float, after: TimerKey = FIRST_TIMER, most: int = 10_000
    ) -> list[TimerKey]:
        """Timers that are due by then, soonest first, from behind ``after``."""
        columns = tables.timers.c
        key = (columns.due_at, columns.run_id, columns.name)
        query = (
            select(*key)
            # The first is for the index, which has no more than when they are due.
            .where(columns.partition == partition, columns.due_at >= after[0], columns.due_at <= until)
            .where(tuple_(*key) > tuple_(*map(literal, after)))
            .order_by(*key)
            .limit(most)
        )

        def read(connection: Connection) -> list[TimerKey]:
            return [(row[0], row[1], row[2]) for row in connection.execute(query)]

        return await self._database.read(read)

    async def unrouted(self, events: Iterable[tuple[str, str]]) -> None:
        """Note that nobody listened to these events: (source, id)."""
        rows = [{"source": source, "id": id, "routed": 0} for source, id in events]
        reached("orchestrator.journal.unrouted.before")
        await self._database.write(lambda connection: update_rows(connection, tables.events, rows))
        reached("orchestrator.journal.unrouted.after")


def apply_commits(connection: Connection, commits: list[Commit]) -> list[Fenced | None]:
    """Apply batches of several partitions together; a fenced one is refused, the others go on."""
    answers: list[Fenced | None] = []
    fresh: list[Commit] = []
    owners = _owners(connection, {commit.partition for commit in commits})
    for commit in commits:
        epoch, last = owners.get(commit.partition, (None, None))
        if epoch != commit.epoch:
            answers.append(
                Fenced(f"partition {commit.partition} is at epoch {epoch}, and this is {commit.epoch}")
            )
            continue
        answers.append(None)
        if last != commit.id:
            fresh.append(commit)
            owners[commit.partition] = (epoch, commit.id)
    if fresh:
        _write(connection, fresh)
    return answers


def _owners(connection: Connection, partitions: set[int]) -> dict[int, tuple[int | None, str | None]]:
    # Locked: whoever takes the lease waits for this commit, or this one sees the new epoch.
    keys = [(number,) for number in partitions]
    columns = ("id", "epoch", "last_commit")
    rows = select_rows(connection, tables.partitions, keys, columns=columns, lock=True)
    return {row.id: (row.epoch, row.last_commit) for row in rows}


def _at_once(commits: list[Commit]) -> Single | None:
    """The same as one statement, which fails when an epoch is another or a commit is there already."""
    partitions = [(commit.partition, commit.epoch, commit.id) for commit in commits]
    if len({number for number, _, _ in partitions}) < len(partitions):
        return None
    if any(commit.early or commit.refused for commit in commits):
        return None
    together = Together("postgresql")
    _put(together, commits)
    return together.single(tables.partitions, partitions, same=("epoch",), mark="last_commit")


def _committed(commits: list[Commit], rows: Sequence[Any]) -> list[Fenced | None]:
    return [None] * len(commits)


def _write(connection: Connection, commits: list[Commit]) -> None:
    # Before the rest, which may take away again what is kept here.
    early = [row for commit in commits for row in commit.early]
    insert_rows(connection, tables.early_events, early, on_conflict="ignore")
    together = Together(connection.dialect.name)
    together.update(tables.partitions, [{"id": c.partition, "last_commit": c.id} for c in commits])
    _put(together, commits)
    together.run(connection)
    refused = [row for commit in commits for row in commit.refused]
    hold(connection, refused)


def _put(together: Together, commits: list[Commit]) -> None:
    changes = [change for commit in commits for change in commit.changes]
    together.insert_values(tables.runs, NEW, [new_row(c.run) for c in changes if c.created])
    moved: list[Run] = []
    steady: list[Run] = []
    for c in changes:
        if c.facts and not c.created:
            (moved if c.moved else steady).append(c.run)
    together.update_values(tables.runs, MOVED, [moved_row(run) for run in moved])
    together.update_values(tables.runs, CHANGED, [changed_row(run) for run in steady])
    together.insert_values(tables.history, FACT, [fact_row(c.run, fact) for c in changes for fact in c.facts])
    _write_timers(together, changes)
    marks = [{"run_id": c.run.id, "message_id": mark} for c in changes for mark in c.marks]
    together.insert(tables.marks, marks, on_conflict="ignore")
    together.insert(tables.events, [row for c in changes for row in c.events], on_conflict="ignore")
    taken = [(c.run.id, message_id) for c in changes for message_id in c.taken]
    together.delete(tables.early_events, taken)
    together.insert(tables.outbox, [outbox_row(c.run.partition, post) for c in changes for post in c.posts])
    # What is deleted was inserted by an earlier commit: it has been published since.
    published = [(commit.partition, position) for commit in commits for position in commit.published]
    together.delete(tables.outbox, published)


def _write_timers(together: Together, changes: list[Change]) -> None:
    cleared = [(c.run.id, name) for c in changes for name, due in c.timers.items() if due is None]
    together.delete(tables.timers, cleared)
    due = [
        {"run_id": c.run.id, "name": name, "partition": c.run.partition, "due_at": due}
        for c in changes
        for name, due in c.timers.items()
        if due is not None
    ]
    together.insert(tables.timers, due, on_conflict="update")


def _asked(questions: list[Question]) -> Single:
    """``_answer`` as one statement."""
    starting = [(run_id,) for q in questions for run_id in q.starting]
    return ask_together(
        (tables.runs, ("id",), [(run_id,) for q in questions for run_id in q.runs]),
        (tables.marks, ("run_id", "message_id"), [pair for q in questions for pair in q.marks]),
        (tables.early_events, ("run_id",), starting),
        (tables.purged, ("run_id",), starting),
    )


def _answered(questions: list[Question], rows: Sequence[Any]) -> list[Knowledge]:
    return _knowledge(questions, *answers_of(4, rows))


def _answer(connection: Connection, questions: list[Question]) -> list[Knowledge]:
    runs = select_rows(connection, tables.runs, [(run_id,) for q in questions for run_id in q.runs])
    pairs = [pair for q in questions for pair in q.marks]
    marks = select_rows(connection, tables.marks, pairs, columns=("run_id", "message_id"))
    starting = [(run_id,) for q in questions for run_id in q.starting]
    early = select_rows(connection, tables.early_events, starting, by=("run_id",))
    purged = select_rows(connection, tables.purged, starting)
    return _knowledge(questions, _named(runs), _named(marks), _named(early), _named(purged))


def _named(rows: Sequence[Row[Any]]) -> list[_Found]:
    return [row._asdict() for row in rows]


def _knowledge(questions: list[Question], *found: Sequence[_Found]) -> list[Knowledge]:
    runs, marks, early, purged = found
    gone = {row["run_id"] for row in purged}
    by_id = {row["id"]: row for row in runs}
    taken = {(row["run_id"], row["message_id"]) for row in marks}
    events: dict[str, list[EventArrived]] = {}
    for row in sorted(early, key=lambda row: (row["at"], row["message_id"])):
        arrived = EventArrived(row["message_id"], row["type"], orjson.loads(row["data"]), row["at"])
        events.setdefault(row["run_id"], []).append(arrived)
    return [
        Knowledge(
            # Loaded for each: a run is changed in place by whoever asked for it.
            runs={id: load_run(by_id[id]) for id in question.runs if id in by_id},
            taken={pair for pair in question.marks if pair in taken},
            early={id: list(events[id]) for id in question.starting if id in events},
            purged=gone.intersection(question.starting),
        )
        for question in questions
    ]
