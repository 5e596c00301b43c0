"""One consumer drains 20,000 persistent messages of 512 bytes: ``python -m benchmarks.reactors [--short]``.

Quorum queues everywhere. Antiphon validates each against its contract, deduplicates in its inbox on
PostgreSQL, and in one side verifies an Ed25519 signature; the peers do none of the three.
``published_per_s`` is each side's own confirmed publishing.
"""

from __future__ import annotations

from antiphon.devservices import DevServices
from benchmarks import peers
from benchmarks.harness import Bench, arguments


def main() -> None:
    options = arguments(__doc__ or "")
    count = 2_000 if options.short else 20_000
    with DevServices() as services:
        bench = Bench("reactors", options, services)
        services.prepare()
        for mode in ("unsigned", "signed"):
            bench.side(f"antiphon {mode}", "antiphon_reactor", mode, count, **fresh(services))
        where = {"AMQP_URL": services.rabbit.url}
        python = peers.python()
        for name in ("aio_pika", "faststream"):
            if isinstance(python, str):
                bench.missing(name, python)
            else:
                bench.side(name, f"{name}_consumer", count, python=python, **where)
        for name in ("taskiq", "celery", "dramatiq"):
            bench.missing(name, "this benchmark has no side for it yet")
        bench.report(peers.versions("aio-pika", "faststream"))


def fresh(services: DevServices) -> dict[str, str]:
    """A database and a vhost that nothing was in."""
    return {**services.settings(), "ANTIPHON_HOME": ".antiphon/bench/home"}


if __name__ == "__main__":
    main()
