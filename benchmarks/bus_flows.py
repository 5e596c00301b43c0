"""The same runs with each step at a service over RabbitMQ: ``python -m benchmarks.bus_flows [--short]``.

Antiphon's service runs in a process of its own, with its inbox on; Celery's and Dramatiq's tasks always do.
"""

from __future__ import annotations

from antiphon.devservices import DevServices
from benchmarks import peers
from benchmarks.flows import ours
from benchmarks.harness import Bench, arguments


def main() -> None:
    options = arguments(__doc__ or "")
    count, at_once = (100, 50) if options.short else (2_000, 100)
    with DevServices() as services:
        bench = Bench("bus_flows", options, services)
        services.prepare()
        queues = {"AMQP_URL": services.rabbit.url, "REDIS_URL": services.redis.url}
        python = peers.python()
        for _ in bench.rounds():
            ours(bench, "antiphon", "bus", count, at_once)
            for name, script in (("celery chain", "celery_flows"), ("dramatiq pipeline", "dramatiq_flows")):
                if isinstance(python, str):
                    bench.missing(name, python)
                else:
                    bench.side(name, script, count, at_once, python=python, **queues)
        bench.report(peers.versions("celery", "dramatiq"))


if __name__ == "__main__":
    main()
