"""The numbers behind ``/metrics``, from the store and the broker: the same from every gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from bus.port import QueueStats
from contracts.errors import BusError, ConfigurationError
from gateway.platform import Platform
from gateway.queries.overview import Oldest, count_by_status, dead_by_reactor, held_in_quarantine, oldest_open
from gateway.queries.processes import (
    Partition,
    Process,
    list_partitions,
    list_processes,
    outbox_depth,
    overdue_timers,
)
from gateway.queries.reconciliation import Reconciliation, read_reconciliation
from gateway.queries.runs import STATUSES
from orchestrator.doubts import REPAIRABLE

__all__ = ["Numbers", "NumbersCollector", "gather", "queue_stats"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was counted at one moment; ``queues`` holds those that the broker could tell of."""

    now: float
    runs: Mapping[str, int]
    oldest: Oldest | None
    dead_letters: Mapping[str, int]
    quarantined: int
    outbox: int
    overdue_timers: int
    partitions: list[Partition]
    processes: list[Process]
    queues: Mapping[str, QueueStats]
    bus_state: str
    reconciliation: Reconciliation


async def gather(platform: Platform, workspace: str | None) -> Numbers:
    """Count. ``workspace`` None counts runs and dead letters of all. Raises StoreUnavailable."""
    now = platform.clock()

    def count(conn: Connection) -> Numbers:
        return Numbers(
            now=now,
            runs=count_by_status(conn, workspace),
            oldest=oldest_open(conn, workspace),
            dead_letters=dead_by_reactor(conn, workspace),
            quarantined=held_in_quarantine(conn, None if workspace is None else (workspace, "")),
            outbox=outbox_depth(conn),
            overdue_timers=overdue_timers(conn, now),
            partitions=list_partitions(conn, now),
            processes=list_processes(conn, now),
            queues=queues,
            bus_state=platform.bus.state,
            reconciliation=read_reconciliation(conn, workspace, now),
        )

    queues = await queue_stats(platform)
    return await platform.database.read(count)


async def queue_stats(platform: Platform, timeout: float = 2.0) -> dict[str, QueueStats]:
    """How each watched queue stands; without those that the broker does not tell of in time."""

    async def one(queue: str) -> tuple[str, QueueStats] | None:
        try:
            async with asyncio.timeout(timeout):
                return queue, await platform.bus.stats(queue)
        except (BusError, ConfigurationError, TimeoutError) as error:
            log.warning("the broker did not tell of a queue", queue=queue, error=str(error))
            return None

    found = await asyncio.gather(*(one(queue) for queue in platform.watched_queues()))
    return dict(pair for pair in found if pair is not None)


class NumbersCollector(Collector):
    """Numbers as Prometheus metrics."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterable[Metric]:
        """All families."""
        numbers = self._numbers
        oldest = numbers.now - numbers.oldest.since if numbers.oldest else 0.0
        runs = {status: numbers.runs.get(status, 0) for status in STATUSES} | dict(numbers.runs)
        ended = ("completed", "compensated", "cancelled", "failed")
        yield _family("runs", "Runs by status", "status", runs)
        yield _gauge(
            "runs_open", "Runs that have not ended", sum(n for s, n in runs.items() if s not in ended)
        )
        yield _gauge(
            "oldest_open_run_seconds",
            "Age of the newest fact of the open run that stood still longest",
            oldest,
        )
        yield _family("dead_letters", "Dead letters that nobody has settled", "reactor", numbers.dead_letters)
        yield _gauge(
            "quarantined_messages", "Messages that could not be read or validated", numbers.quarantined
        )
        yield _gauge("outbox_messages", "Messages committed and not known to be published", numbers.outbox)
        yield _gauge(
            "timers_overdue", "Timers that should have fired half a minute ago", numbers.overdue_timers
        )
        yield _gauge("partitions", "Partitions of the store", len(numbers.partitions))
        held = sum(partition.held for partition in numbers.partitions)
        yield _gauge("partitions_owned", "Partitions whose owner's lease runs", held)
        yield from _reconciled(numbers.reconciliation, numbers.now)
        alive: dict[str, float] = {}
        for process in numbers.processes:
            alive[process.role] = alive.get(process.role, 0) + process.alive
        yield _family("processes_alive", "Processes that were seen alive", "role", alive)
        yield _gauge(
            "bus_connected", "1 when the bus takes publishes", float(numbers.bus_state == "connected")
        )
        queues = numbers.queues
        yield _family("queue_ready", "Messages waiting", "queue", {q: s.ready for q, s in queues.items()})
        yield _family("queue_consumers", "Consumers", "queue", {q: s.consumers for q, s in queues.items()})
        ages = {queue: stats.oldest for queue, stats in queues.items() if stats.oldest is not None}
        yield _family("queue_oldest_seconds", "Age of the oldest waiting message", "queue", ages)


def _reconciled(found: Reconciliation, now: float) -> Iterable[Metric]:
    yield _gauge("runs_proved", "Open runs that stood still and were proved to go on", found.proved)
    yield _gauge("runs_unproven", "Open runs that may wait for what can't come", found.unproven)
    yield _gauge("runs_unowned", "Open runs of partitions that nobody owns", found.unowned)
    repaired = CounterMetricFamily(
        "antiphon_runs_repaired", "What runs waited for, was lost, and was made up for", labels=["reason"]
    )
    for reason in REPAIRABLE:
        repaired.add_metric([reason], found.repaired.get(reason, 0))
    yield repaired
    if found.oldest is not None:
        age = max(0.0, now - found.oldest)
        yield _gauge("reconciled_seconds", "Since the partition longest not looked at was", age)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"antiphon_{name}", help, value=value)


def _family(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"antiphon_{name}", help, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
