"""The tables, each with the room that writes it.

Times are seconds since the epoch (UTC) as double precision. JSON is kept as text, encoded once by
the writer: no query looks inside it, and what is searched has a column of its own. ``workspace``
stands in every table that a tenant's data can reach.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

__all__ = [
    "audit",
    "dead_letters",
    "early_events",
    "events",
    "history",
    "idempotency",
    "keys",
    "marks",
    "metadata",
    "outbox",
    "partitions",
    "processes",
    "purged",
    "quarantine",
    "reactions",
    "reconciliations",
    "runs",
    "timers",
]

metadata = MetaData()

# --- orchestrator -----------------------------------------------------------------------------

partitions = Table(
    "partitions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text),  # an incarnation: processes.id
    Column("epoch", BigInteger, nullable=False, default=0),
    Column("lease_until", Double, nullable=False, default=0.0),
    Column("last_commit", Text),  # the id of the newest commit, so that a repeat is answered
)

processes = Table(
    "processes",
    metadata,
    Column("id", Text, primary_key=True),  # an incarnation: never used twice
    Column("role", Text, nullable=False),  # orchestrator, reactors, service, gateway
    Column("name", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("alive_until", Double, nullable=False),
    Column("detail", Text),  # JSON
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("flow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("correlation", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("input", Text, nullable=False),  # JSON
    Column("input_digest", Text, nullable=False),
    Column("start_id", Text, nullable=False),  # the message that started it
    Column("state", Text, nullable=False),  # JSON, see orchestrator.state
    Column("seq", Integer, nullable=False),  # the newest fact in history
    Column("busy", Integer, nullable=False, default=0),  # 1: a step of it is at work in its owner's process
    Column("waiting", Text),  # why it does not move right now, in words
    Column("result", Text),  # JSON
    Column("error", Text),  # JSON: code, message, node
    Column("linked_from", Text),  # the run that this one was made from (rerun)
    Column("parent", Text),  # the run that called this one
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    Index("runs_workspace_created", "workspace", "created_at"),
    Index("runs_workspace_status", "workspace", "status", "created_at"),
    Index(  # see store.lookups
        "runs_workspace_correlation",
        "workspace",
        "correlation",
        sqlite_where=text("correlation <> id"),
        postgresql_where=text("correlation <> id"),
    ),
    Index(  # what a new owner asks for
        "runs_partition_busy", "partition", sqlite_where=text("busy = 1"), postgresql_where=text("busy = 1")
    ),
    Index(  # what the reconciler pages through; by age, so that new runs share its pages (decision 0031)
        "runs_partition_open",
        "partition",
        "created_at",
        "id",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index(  # what retention takes the oldest of
        "runs_partition_ended",
        "partition",
        "ended_at",
        sqlite_where=text("ended_at IS NOT NULL"),
        postgresql_where=text("ended_at IS NOT NULL"),
    ),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),  # of the owner that looked
    Column("at", Double, nullable=False),  # when the newest look at all of its open runs ended
    Column("proved", Integer, nullable=False),  # runs that can go on
    Column("unproven", Integer, nullable=False),  # runs that may not
    Column("listed", Text, nullable=False),  # JSON: some of those, each with the reason
    Column("repaired", Text, nullable=False),  # JSON: how many of which reason, since the store was made
)

history = Table(
    "history",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),  # past tense, see orchestrator.facts
    Column("node", Text),  # the flow's node that it is about
    Column("at", Double, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Column("run_created_at", Double, nullable=False),
    # By age: a run's id is a hash, and with it alone each fact of a commit had a page of its own to change.
    PrimaryKeyConstraint("run_created_at", "run_id", "seq"),
)

timers = Table(
    "timers",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    PrimaryKeyConstraint("run_id", "name"),
    Index("timers_partition_due", "partition", "due_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("partition", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("partition", "position"),
)

# Messages that a run has taken already: a repeat is acked and changes nothing.
marks = Table(
    "marks",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "message_id"),
)

# Correlated events that came before their run waited for them, or before there was a run.
early_events = Table(
    "early_events",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("run_id", "message_id"),
    Index("early_events_at", "at"),
)

# What is left of a run whose rows were archived and purged: its id, so that it is never started again.
purged = Table(
    "purged",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("status", Text, nullable=False),  # how it ended
    Column("ended_at", Double, nullable=False),
    Column("purged_at", Double, nullable=False),
)

# --- reactors ---------------------------------------------------------------------------------

# The inbox. A service is a reactor that answers: it keeps its reply here.
reactions = Table(
    "reactions",
    metadata,
    Column("reactor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("correlation", Text, nullable=False),
    Column("causation", Text),
    Column("status", Text, nullable=False),  # claimed, retrying, done, dead, discarded
    Column("attempts", Integer, nullable=False),  # started ones, since the newest redrive
    Column("crashes", Integer, nullable=False, default=0),  # of those, the ones whose worker died in them
    Column("redrives", Integer, nullable=False, default=0),  # how often an operator sent it again
    Column("claimed_by", Text),  # processes.id
    Column("received_at", Double, nullable=False),  # first seen
    Column("started_at", Double, nullable=False),  # the newest attempt
    Column("retry_at", Double),  # when the next attempt is due, while retrying
    Column("finished_at", Double),
    Column("error", Text),  # JSON of the newest failed attempt: type, message
    Column("reply", Text),  # JSON; services only
    PrimaryKeyConstraint("reactor", "source", "event_id"),
    Index("reactions_workspace_correlation", "workspace", "correlation"),
    Index("reactions_workspace_reactor_status", "workspace", "reactor", "status"),
    Index("reactions_finished", "finished_at"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Text, primary_key=True),  # derived from reactor, source, event id and redrives
    Column("workspace", Text, nullable=False),
    Column("reactor", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("correlation", Text, nullable=False),
    Column("group_key", Text, nullable=False),  # reactor and error, digits taken out
    Column("error_type", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("traceback", Text),
    Column("attempts", Integer, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON
    Column("body", LargeBinary, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("dead_at", Double, nullable=False),
    Column("status", Text, nullable=False),  # dead, redriven, discarded
    Column("settled_at", Double),
    Column("settled_by", Text),
    Column("reason", Text),
    Index("dead_letters_workspace_status", "workspace", "status", "dead_at"),
    Index("dead_letters_group", "workspace", "group_key"),
    Index("dead_letters_correlation", "workspace", "correlation"),
    Index("dead_letters_settled", "settled_at"),
)

# What could not be read, verified or validated: kept with the reason, never retried by itself.
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),  # empty where the message named none we could read
    Column("queue", Text, nullable=False),
    Column("reason", Text, nullable=False),  # short and stable: malformed, unknown-contract, off-contract …
    Column("detail", Text, nullable=False),
    Column("message_id", Text),
    Column("content_type", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON; what is not JSON is shown as text
    Column("body", LargeBinary, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("status", Text, nullable=False),  # held, released, discarded
    Index("quarantine_status", "status", "received_at"),
)

# --- gateway and whoever publishes ------------------------------------------------------------

# What was published, so that a story can show what was expected to follow.
events = Table(
    "events",
    metadata,
    Column("source", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("correlation", Text, nullable=False),
    Column("causation", Text),
    Column("subject", Text),
    Column("at", Double, nullable=False),
    Column("routed", Integer, nullable=False, default=1),  # 0: nobody listened
    PrimaryKeyConstraint("source", "id"),
    Index("events_workspace_correlation", "workspace", "correlation"),
    Index("events_at", "at"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("role", Text, nullable=False),  # admin, operator, publisher, viewer
    Column("name", Text, nullable=False),
    Column("secret_digest", Text, nullable=False, unique=True),  # SHA-256; the secret is shown once
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("workspace", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_digest", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("status", Integer),  # None while the first request is still at work
    Column("response", Text),  # JSON: headers and body
    PrimaryKeyConstraint("workspace", "key"),
    Index("idempotency_created", "created_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("workspace", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),  # JSON
    Column("previous", Text, nullable=False),  # the digest before this one: a hash chain
    Column("digest", Text, nullable=False),
    Index("audit_workspace", "workspace", "seq"),
)
