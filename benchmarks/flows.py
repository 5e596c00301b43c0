"""Runs of three trivial local steps: ``python -m benchmarks.flows [--short]``.

2,000 runs, 100 at a time, one orchestrator process and one that asks, against engines that do the same.
PostgreSQL has fsync and synchronous_commit on, SQLite synchronous=FULL, queues are quorum queues with
confirms. (Dramatiq's are durable classic ones. Celery and Dramatiq keep no journal.)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from antiphon.devservices import DevServices
from antiphon.devservices.ports import free_ports
from benchmarks import peers
from benchmarks.harness import Bench, arguments


def main() -> None:
    options = arguments(__doc__ or "")
    with DevServices() as services:
        bench = Bench("flows", options, services)
        services.prepare()
        for _ in bench.rounds():
            run(bench)
        bench.report(peers.versions("dbos", "restate-sdk", "celery", "dramatiq"))


def ours(bench: Bench, name: str, mode: str, count: int, at_once: int) -> None:
    """Antiphon on PostgreSQL and RabbitMQ, and in one SQLite file."""
    on_services(bench, f"{name} postgres", mode, count, at_once)
    in_one_file(bench, f"{name} embedded", mode, count, at_once)


def on_services(bench: Bench, side: str, mode: str, count: int, at_once: int, **settings: str) -> None:
    """RabbitMQ, PostgreSQL and Redis."""
    if bench.wanted(side):
        places = bench.services.settings() | settings
        bench.side(side, "antiphon_flows", mode, count, at_once, **places)


def in_one_file(bench: Bench, side: str, mode: str, count: int, at_once: int, **settings: str) -> None:
    """The embedded store and bus."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"ANTIPHON_HOME": folder, "ANTIPHON_DATABASE_URL": f"sqlite:///{folder}/antiphon.db"}
        bench.side(side, "antiphon_flows", mode, count, at_once, **places, **settings)


def run(bench: Bench) -> None:
    count, at_once = (200, 50) if bench.options.short else (2_000, 100)
    services = bench.services
    ours(bench, "antiphon", "apart", count, at_once)
    # What a partition costs.
    for number in ("2", "8", "16"):
        side = f"antiphon, {number} partitions, postgres"
        on_services(bench, side, "apart", count, at_once, ANTIPHON_PARTITIONS=number)
    in_one_file(bench, "antiphon, 8 partitions, embedded", "apart", count, at_once, ANTIPHON_PARTITIONS="8")
    python = peers.python()
    names = ("dbos threads", "dbos asyncio", "restate", "celery", "dramatiq")
    if isinstance(python, str):
        for name in names:
            bench.missing(name, python)
        return
    queues = {"AMQP_URL": services.rabbit.url, "REDIS_URL": services.redis.url}
    for form in ("threads", "asyncio"):
        database = services.postgres.create_database().replace("+asyncpg", "")
        bench.side(f"dbos {form}", "dbos_flows", form, count, at_once, python=python, DBOS_URL=database)
    server = peers.restate()
    if isinstance(server, Path):
        ports = ",".join(map(str, free_ports(4)))
        bench.side(
            "restate", "restate_flows", count, at_once, python=python, PORTS=ports, RESTATE=str(server)
        )
    else:
        bench.missing("restate", server)
    bench.side("celery chain", "celery_flows", count, at_once, python=python, **queues)
    bench.side("dramatiq pipeline", "dramatiq_flows", count, at_once, python=python, **queues)


if __name__ == "__main__":
    main()
