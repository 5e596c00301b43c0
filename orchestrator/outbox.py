"""The outbox of a partition as it lies in the store: what was committed, until the broker has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, func, or_, select

from bus.port import EVENTS, Message, Outgoing
from store import tables

__all__ = ["MOST_TO_ONE", "Destination", "Post", "outbox_row", "read_behind", "read_left"]

Destination = tuple[str, str]  # exchange and routing key

MOST_TO_ONE = 500  # messages to one destination that are read at once

_columns = tables.outbox.c


@dataclass(frozen=True, slots=True)
class Post:
    """A message in the outbox. Positions grow within a partition, across owners too."""

    position: int
    outgoing: Outgoing

    @property
    def to(self) -> Destination:
        """Where it goes."""
        return self.outgoing.exchange, self.outgoing.routing_key


def outbox_row(partition: int, post: Post) -> dict[str, Any]:
    """The row of a message."""
    outgoing = post.outgoing
    return {
        "partition": partition,
        "position": post.position,
        "message_id": outgoing.message.id,
        "exchange": outgoing.exchange,
        "routing_key": outgoing.routing_key,
        "content_type": outgoing.message.content_type,
        "headers": orjson.dumps(dict(outgoing.message.headers)).decode(),
        "body": outgoing.message.body,
    }


def read_left(partition: int) -> Callable[[Connection], list[Post]]:
    """What is there, oldest first; to one destination the first ``MOST_TO_ONE``, except of events.

    Of commands any number may wait for a queue that is not there. An event waits for none.
    """
    place = func.row_number().over(
        partition_by=(_columns.exchange, _columns.routing_key), order_by=_columns.position
    )
    rows = select(tables.outbox, place.label("place")).where(_columns.partition == partition).subquery()
    query = (
        select(rows)
        .where(or_(rows.c.exchange == EVENTS, rows.c.place <= MOST_TO_ONE))
        .order_by(rows.c.position)
    )
    return lambda connection: [_post(row) for row in connection.execute(query).mappings()]


def read_behind(partition: int, to: Destination, after: int) -> Callable[[Connection], list[Post]]:
    """What goes to one destination and comes behind position ``after``: the first ``MOST_TO_ONE``."""
    exchange, routing_key = to
    query = (
        select(tables.outbox)
        .where(_columns.partition == partition, _columns.position > after)
        .where(_columns.exchange == exchange, _columns.routing_key == routing_key)
        .order_by(_columns.position)
        .limit(MOST_TO_ONE)
    )
    return lambda connection: [_post(row) for row in connection.execute(query).mappings()]


def _post(row: Any) -> Post:
    headers = orjson.loads(row["headers"])
    message = Message(row["message_id"], bytes(row["body"]), row["content_type"], headers)
    return Post(row["position"], Outgoing(message, row["routing_key"], row["exchange"]))
