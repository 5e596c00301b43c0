"""Looks at the store after each commit, and says what must never be.

Triggers note what a commit touched, so that a look costs what the commit did and not what there is. Of
each run a state is folded from its facts as they come; the row must say the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from antiphon.testing.chronicle import Chronicle
from orchestrator.catalog import Catalog
from orchestrator.facts import Fact
from orchestrator.run import Run

__all__ = ["TRIGGERS", "Watch"]

TRIGGERS = """
CREATE TABLE sim_log (kind TEXT, a TEXT, b TEXT, c TEXT, d TEXT);
CREATE TRIGGER sim_fact AFTER INSERT ON history
    BEGIN INSERT INTO sim_log VALUES ('fact', NEW.run_id, NEW.seq, NULL, NULL); END;
CREATE TRIGGER sim_fact_changed AFTER UPDATE ON history
    BEGIN INSERT INTO sim_log VALUES ('tampered', OLD.run_id, OLD.seq, 'changed', NULL); END;
CREATE TRIGGER sim_fact_gone AFTER DELETE ON history
    BEGIN INSERT INTO sim_log VALUES ('tampered', OLD.run_id, OLD.seq, 'deleted', NULL); END;
CREATE TRIGGER sim_run AFTER INSERT ON runs
    BEGIN INSERT INTO sim_log VALUES ('run', NEW.id, NULL, NULL, NULL); END;
CREATE TRIGGER sim_run_changed AFTER UPDATE ON runs
    BEGIN INSERT INTO sim_log VALUES ('run', NEW.id, NULL, NULL, NULL); END;
CREATE TRIGGER sim_commit AFTER UPDATE OF last_commit ON partitions
    BEGIN INSERT INTO sim_log VALUES ('commit', NEW.id, NEW.epoch, NEW.owner, NULL); END;
CREATE TRIGGER sim_epoch AFTER UPDATE OF epoch ON partitions
    BEGIN INSERT INTO sim_log VALUES ('epoch', NEW.id, OLD.epoch, NEW.epoch, NEW.owner); END;
CREATE TRIGGER sim_post AFTER INSERT ON outbox
    BEGIN INSERT INTO sim_log VALUES ('post', NEW.message_id, NEW.exchange, NEW.routing_key, NEW.body); END;
CREATE TRIGGER sim_reaction AFTER INSERT ON reactions
    BEGIN INSERT INTO sim_log VALUES ('reaction', NEW.reactor, NEW.source || char(31) || NEW.event_id, NULL,
        NEW.status); END;
CREATE TRIGGER sim_reaction_changed AFTER UPDATE ON reactions
    BEGIN INSERT INTO sim_log VALUES ('reaction', NEW.reactor, NEW.source || char(31) || NEW.event_id,
        OLD.status, NEW.status); END;
"""

_ENDS = frozenset({"done", "dead", "discarded"})

Report = Callable[[str], None]
Reaction = tuple[str, str, str]  # reactor, source, event id


class Watch:
    """What is known of the store, commit by commit. ``broken`` is told of each rule that does not hold."""

    def __init__(
        self, raw: sqlite3.Connection, catalog: Catalog, tell: Callable[[str, str], None], broken: Report
    ) -> None:
        self._raw = raw
        self._tell = tell
        self._broken = broken
        self._chronicle = Chronicle(catalog, broken)
        self._committers: dict[tuple[str, str], str] = {}
        self._posts: dict[str, tuple[str, str, bytes]] = {}
        self.reactions: dict[Reaction, str] = {}

    @property
    def runs(self) -> Mapping[str, Run]:
        """Every run, as its history says."""
        return self._chronicle.runs

    def was_ordered(self, run_id: str, node: str, *, back: bool, attempt: int, dispatch: int) -> bool:
        """Whether this attempt was ever durable."""
        return (run_id, node, back, attempt, dispatch) in self._chronicle.ordered

    def was_posted(self, id: str, exchange: str, routing_key: str, body: bytes) -> bool:
        """Whether this message was ever durable in the outbox, exactly so."""
        return self._posts.get(id) == (exchange, routing_key, bytes(body))

    def look(self, who: str, incarnation: str) -> bool:
        """Look at what the newest commit touched; whether that was anything."""
        rows = self._raw.execute("SELECT kind, a, b, c, d FROM sim_log ORDER BY rowid").fetchall()
        if not rows:
            return False
        self._raw.execute("DELETE FROM sim_log")
        runs: dict[str, None] = {}
        for kind, a, b, c, d in rows:
            match kind:
                case "fact" | "run":
                    runs[a] = None
                case "tampered":
                    self._broken(f"fact {b} of run {a} was {c}: a history is append-only")
                case "commit":
                    self._commit(a, b, c, incarnation)
                case "epoch":
                    self._tell(who, f"took partition {a} in epoch {c}")
                    if int(c) <= int(b):
                        self._broken(f"partition {a} went from epoch {b} to {c}")
                case "post":
                    self._post(a, (b, c, bytes(d)))
                case "reaction":
                    self._reaction((a, *_pair(b)), c, d, who)
        for run_id in runs:
            self._run(run_id, who)
        return True

    def _commit(self, partition: str, epoch: str, owner: str | None, incarnation: str) -> None:
        first = self._committers.setdefault((partition, epoch), incarnation)
        if first != incarnation:
            self._broken(f"partition {partition}: {first} and {incarnation} both committed in epoch {epoch}")
        if owner is not None and owner != incarnation:
            self._broken(f"{incarnation} committed to partition {partition}, and {owner} owns it")

    def _post(self, id: str, content: tuple[str, str, bytes]) -> None:
        known = self._posts.setdefault(id, content)
        # A command keeps its id over its attempts, of which its headers tell; its content is the same.
        if known != content:
            self._broken(f"message {id} was put into the outbox twice, with different content")

    def _reaction(self, key: Reaction, before: str | None, after: str, who: str) -> None:
        if before != after:
            why = self._error(key) if after in ("retrying", "dead") else ""
            self._tell(who, f"reaction {key[0]} to {key[2]}: {before or 'new'} -> {after}{why}")
        if before == "done" and after != "done":
            self._broken(f"reaction {key} was done, and is {after}: it was settled more than once")
        self.reactions[key] = after

    def _error(self, key: Reaction) -> str:
        rows = self.tables("SELECT error FROM reactions WHERE reactor=? AND source=? AND event_id=?", *key)
        error = orjson.loads(rows[0][0]) if rows and rows[0][0] else {}
        return f": {error['type']}: {error['message']}" if error else ""

    def _run(self, run_id: str, who: str) -> None:
        known = self._chronicle.runs.get(run_id)
        cursor = self._raw.execute("SELECT * FROM runs WHERE id = ?", (run_id,))
        names = [column[0] for column in cursor.description]
        row = cursor.fetchone()
        if row is None:
            self._broken(f"run {run_id} has a history and no row")
            return
        run = dict(zip(names, row, strict=True))
        facts = self.facts(run_id, run["created_at"], after=known.seq if known is not None else 0)
        for fact in facts:
            node, error = f" {fact.node}" if fact.node else "", fact.data.get("error")
            why = f": {error.get('code')}: {error.get('message')}" if isinstance(error, dict) else ""
            self._tell(who, f"run {run_id} #{fact.seq} {fact.type}{node}{why}")
            if fact.type == "event_emitted" and fact.data["event_id"] not in self._posts:
                self._broken(f"run {run_id} emitted {fact.data['event_type']}, and the outbox never had it")
        self._chronicle.add(run, facts)

    def settled(self, key: Reaction) -> bool:
        """Whether a reaction has ended."""
        return self.reactions.get(key) in _ENDS

    def facts(self, run_id: str, created_at: float, *, after: int = 0) -> list[Fact]:
        """A run's facts behind that number, the oldest first."""
        rows = self._raw.execute(
            "SELECT seq, type, node, at, data FROM history "
            "WHERE run_created_at = ? AND run_id = ? AND seq > ? ORDER BY seq",
            (created_at, run_id, after),
        )
        return [Fact(seq, type, node, at, orjson.loads(data)) for seq, type, node, at, data in rows]

    def tables(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What the store says, for invariants of one's own."""
        return self._raw.execute(statement, parameters).fetchall()


def _pair(text: str) -> tuple[str, str]:
    source, _, id = text.partition("\x1f")
    return source, id
