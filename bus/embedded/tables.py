"""The tables of the embedded bus. They have a MetaData of their own: the bus makes them at start."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

__all__ = ["bindings", "messages", "metadata", "queues"]

metadata = MetaData()

queues = Table(
    "bus_queues",
    metadata,
    Column("name", Text, primary_key=True),
    Column("single_active", Boolean, nullable=False),
)

bindings = Table(
    "bus_bindings",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("exchange", Text, primary_key=True),
    Column("pattern", Text, primary_key=True),
)

# One row per message and queue. ``seq`` is the order of confirmation, ``deliveries`` how often the
# message was handed out, ``available_at`` seconds since the epoch.
messages = Table(
    "bus_messages",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("queue", Text, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("available_at", Float, nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("id", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("headers", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("bus_messages_by_queue", "queue", "seq"),
)
