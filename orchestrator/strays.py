"""Messages on the queue of another partition than their run's, whose owner alone may change it.

They are from before the store had as many partitions (``orchestrator.growth``): starts on their way, replies
to a partition that was named in a command, what a process says that does not know of the new ones yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from bus.port import Outgoing
from orchestrator import wire
from orchestrator.happenings import Happening
from orchestrator.inbox import Arrival

__all__ = ["Happened", "sort_out"]

Happened = tuple[Arrival, str, Happening]


def sort_out(
    arrivals: Sequence[Arrival], partition: int, partitions: int, now: float
) -> tuple[list[Happened], list[Outgoing]]:
    """What happened to runs of this partition; and the others' messages, on to the queues of theirs.

    A message goes on as a hop, and is known by its id where it comes twice. What could not be read is in
    neither.
    """
    mine: list[Happened] = []
    others: list[Outgoing] = []
    for arrival in arrivals:
        if arrival.happening is None:
            continue
        right = partition
        if arrival.delivery is not None:
            right = wire.partition_of(arrival.run_id, partitions)
        if right == partition:
            mine.append((arrival, arrival.run_id, arrival.happening))
        elif (delivery := arrival.by_itself(now)) is not None:
            others.append(Outgoing(delivery.message, wire.partition_queue(right).name))
    return mine, others
