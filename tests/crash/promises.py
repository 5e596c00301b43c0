"""Every promise of the platform that a crash could break, checked on what is left when all has ended."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from store.audit import first_broken
from store.database import Database
from tests.crash.customer import Answers

__all__ = ["Left", "archived", "broken", "look"]

WORKSPACE = "default"
ENDS = {
    ("order", "good-1"): "completed",
    ("order", "bad-1"): "compensated",
    ("hold", "sig-1"): "completed",
    ("hold", "cancel-1"): "cancelled",
    ("label", "good-1"): "completed",
}
# What each run must do, in strict order: step n+1 never begins before n is durable. ``fragile`` and ``slow``
# stand apart: they may be repeated at any time.
CALLS = {
    "good-1": ("reserve", "charge", "pack", "ship", "label", "close"),
    "bad-1": ("reserve", "charge", "pack", "refund", "unreserve"),
    "sig-1": ("reserve", "tag", "close"),
    "cancel-1": ("reserve", "tag", "unreserve"),
    "stray-1": ("ship",),
}
_TABLES = (
    *("runs", "history", "outbox", "timers", "early_events", "events", "reactions", "dead_letters"),
    *("quarantine", "idempotency", "keys", "audit", "partitions", "shipped"),
)


@dataclass
class Left:
    """What is in the store, and what was done in the world outside."""

    rows: dict[str, list[Any]]
    calls: list[dict[str, Any]]
    audit_broken_at: int | None
    problems: list[str] = field(default_factory=list)

    def must(self, holds: object, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.problems.append(what)


def look(folder: Path, database_url: str) -> Left:
    """Read all of it; nobody else is at the store now."""
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]

    async def read() -> tuple[dict[str, list[Any]], int | None]:
        database = await Database.open(database_url)
        try:
            return await database.read(lambda conn: (_rows(conn), first_broken(conn, WORKSPACE)))
        finally:
            await database.close()

    rows, audit_broken_at = asyncio.run(read())
    return Left(rows, calls, audit_broken_at)


def archived(before: Left, after: Left, folder: Path) -> list[str]:
    """What was in the store is in the store or in the archive, and no run in both."""
    lines = [json.loads(line) for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    kept = {(line["kind"], _identity(line[line["kind"]])) for line in lines}
    kinds = {"runs": "run", "events": "event", "dead_letters": "dead_letter", "early_events": "early_event"}
    for name, kind in kinds.items():
        there = {_identity(row._mapping) for row in after.rows[name]}
        for row in before.rows[name]:
            identity = _identity(row._mapping)
            after.must(identity in there or (kind, identity) in kept, f"{kind} {identity} is gone")
    after.must(not after.rows["runs"], "runs are left")
    facts = {
        (line["run"]["id"], fact["seq"]) for line in lines if "history" in line for fact in line["history"]
    }
    lost = {(fact.run_id, fact.seq) for fact in before.rows["history"]} - facts
    after.must(not lost, f"facts are gone: {lost}")
    return after.problems


def _identity(row: Mapping[str, Any]) -> str:
    return str(row["id"] if "id" in row else (row["run_id"], row["message_id"]))


def _rows(conn: Connection) -> dict[str, list[Any]]:
    return {name: list(conn.execute(text(f"SELECT * FROM {name}"))) for name in _TABLES}


def broken(left: Left, answers: Answers, *, newer: bool = False, unfit: bool = False) -> list[str]:
    """The promises that were broken, each in words; none when all were kept."""
    ends = dict(ENDS)
    calls = dict(CALLS)
    if newer:
        ends["newer", "newer-1"] = "completed"
        calls["newer-1"] = ("close",)
    _accepted(left, answers, ends)
    _histories(left)
    _strict_order(left, calls)
    _reactions(left)
    _nothing_left(left)
    _operators(left, answers, held=3 if unfit else 2)
    return left.problems


def _accepted(left: Left, answers: Answers, ends: dict[tuple[str, str], str]) -> None:
    """A 2xx means durable; a start is idempotent; every run ends, and as it should."""
    runs = left.rows["runs"]
    left.must({(r.flow, r.key) for r in runs} == set(ends), f"the runs are {[(r.flow, r.key) for r in runs]}")
    left.must(len(runs) == len(ends), "a run stands twice")
    for run in runs:
        wanted = ends.get((run.flow, run.key))
        left.must(run.status == wanted, f"{run.flow}/{run.key} ended as {run.status}, not as {wanted}")
        left.must(run.busy == 0, f"{run.key} ended and is busy")
    ids = {run.id for run in runs}
    for (flow, key), run_id in answers.runs.items():
        left.must(run_id in ids or key == "unfit", f"{flow}/{key} was accepted and is lost")
    recorded = {(event.source, event.id) for event in left.rows["events"]}
    for event in answers.events:
        left.must((event["source"], event["id"]) in recorded, f"the event {event['id']} is not recorded")
    unanswered = {row.key for row in left.rows["idempotency"] if row.status is None} - answers.accepted
    left.must(not unanswered, f"idempotency keys without an answer: {unanswered}")


def _histories(left: Left) -> None:
    """No gaps, no repeats; one beginning, one end, one outcome of each step."""
    for run in left.rows["runs"]:
        facts = sorted((fact for fact in left.rows["history"] if fact.run_id == run.id), key=lambda f: f.seq)
        seqs = [fact.seq for fact in facts]
        left.must(seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"{run.key}: seqs {seqs}")
        left.must(run.seq == seqs[-1], f"{run.key}: the row is at {run.seq}, its history at {seqs[-1]}")
        counted = Counter((fact.type, fact.node) for fact in facts)
        for (type, node), times in counted.items():
            once = type.startswith("run_") or type.endswith(("_completed", "_compensated", "_slept"))
            left.must(times == 1 or not once, f"{run.key}: {type} {node or ''} {times} times")
        left.must(facts[-1].type.startswith("run_"), f"{run.key}: {facts[-1].type} is its last fact")


def _strict_order(left: Left, wanted: dict[str, tuple[str, ...]]) -> None:
    """Each effect under one key; in order; once the next has begun, a step before it is never repeated."""
    for of, order in wanted.items():
        calls = [call for call in left.calls if call["of"] == of and call["what"] != "fragile"]
        seen = [call["what"] for call in calls]
        # What a reactor emits is heard before its reaction is settled: it may come again when the next has
        # begun, and its first time is the one in order.
        once = [what for index, what in enumerate(seen) if what != "ship" or what not in seen[:index]]
        collapsed = [what for index, what in enumerate(once) if index == 0 or once[index - 1] != what]
        left.must(collapsed == list(order), f"{of}: did {seen}, not {list(order)}")
        for what in order:
            # One crash: at most one repeat, and what fails at first by itself is tried twice anyway.
            most = 3 if what == "pack" else 2
            left.must(seen.count(what) <= most, f"{of}: {what} {seen.count(what)} times")
            keys = {call["key"] for call in calls if call["what"] == what}
            left.must(len(keys) == 1, f"{of}: {what} under {len(keys)} keys")


def _reactions(left: Left) -> None:
    """Each published event reached each of its reactors, and was settled there once."""
    shipped = Counter(row.id for row in left.rows["shipped"])
    once = {"good-1": 1, "stray-1": 1, "count good-1": 1, "count stray-1": 1}
    left.must(shipped == once, f"shipped: {dict(shipped)}")
    reactors = {"order.placed.v1": ("ship", "count", "fragile"), "order.slowed.v1": ("slow",)}
    wanted = {
        (reactor, event.source, event.id)
        for event in left.rows["events"]
        for reactor in reactors.get(event.type, ())
    }
    found = [(r.reactor, r.source, r.event_id) for r in left.rows["reactions"] if r.reactor != "service.bank"]
    left.must(set(found) == wanted, f"reactions {found}, and events ask for {wanted}")
    for row in left.rows["reactions"]:
        well = row.status == "done" or (row.reactor == "fragile" and row.status == "discarded")
        left.must(well, f"{row.reactor} {row.event_id} is {row.status}")
    emitted = Counter((event.type, event.id) for event in left.rows["events"])
    left.must(set(emitted.values()) == {1}, f"events: {emitted}")
    types = Counter(event.type for event in left.rows["events"])
    for type, times in {"order.placed.v1": 2, "order.shipped.v1": 2, "order.ignored.v1": 1}.items():
        left.must(types[type] == times, f"{types[type]} of {type}")
    unheard = [event for event in left.rows["events"] if event.type == "order.ignored.v1" and event.routed]
    left.must(not unheard, "an event that nobody listens to stands as heard")


def _nothing_left(left: Left) -> None:
    """The outbox is empty, no timer is set, nothing is kept for a run that took it."""
    for name in ("outbox", "timers"):
        left.must(not left.rows[name], f"{name}: {left.rows[name]}")
    ids = {run.id for run in left.rows["runs"]}
    kept = [row for row in left.rows["early_events"] if row.run_id in ids]
    left.must(not kept, f"early events that their run never got: {kept}")


def _operators(left: Left, answers: Answers, held: int) -> None:
    """What an operator did is done, and stands in the audit trail; refused messages are all there."""
    left.must(left.audit_broken_at is None, f"the audit trail breaks at {left.audit_broken_at}")
    settled = {row.id: row.status for row in (*left.rows["dead_letters"], *left.rows["quarantine"])}
    for id, status in answers.settled.items():
        left.must(settled.get(id) == status, f"{id} was {status}, and is {settled.get(id)}")
    left.must(len(left.rows["dead_letters"]) == 2, f"{len(left.rows['dead_letters'])} dead letters")
    left.must(len(left.rows["quarantine"]) == held, f"{len(left.rows['quarantine'])} in quarantine")
    revoked = {key.id for key in left.rows["keys"] if key.revoked_at is not None}
    left.must(set(answers.keys) <= revoked, "a key that was revoked is not")
    actions = {row.action for row in left.rows["audit"]}
    done = {
        "run.signal",
        "run.cancel",
        "key.create",
        "key.revoke",
        "redrive",
        "discard",
        "quarantine.release",
    }
    left.must(done <= actions, f"not in the audit trail: {done - actions}")
