"""One consumer drains 20,000 persistent messages of 512 bytes: ``python -m benchmarks.reactors [--short]``.

Quorum queues everywhere. Antiphon validates each against its contract, deduplicates in its inbox on
PostgreSQL, and verifies a signature (HMAC-SHA256 as one process alone does, Ed25519 as several do) or none;
the peers do none of the three. A handler that says it is idempotent begins before the inbox knows of the
message, as the peers' do; one that does not waits for its claim.
``published_per_s`` is each side's own confirmed publishing. The sides "at 500/s" measure from the call that
publishes a message to its handler, in one process, at a steady pace.
"""

from __future__ import annotations

from pathlib import Path

from antiphon.devservices import DevServices
from benchmarks import peers
from benchmarks.harness import Bench, arguments

PACE = 500  # messages a second
MODES = ("unsigned", "hmac", "ed25519")
HOW = {"": "", " idempotent": "idempotent"}  # what the handler says of itself


def main() -> None:
    options = arguments(__doc__ or "")
    count = 2_000 if options.short else 20_000
    with DevServices() as services:
        bench = Bench("reactors", options, services)
        services.prepare()
        where = {"AMQP_URL": services.rabbit.url}
        python = peers.python()
        where["REDIS_URL"] = services.redis.url
        for _ in bench.rounds():
            for mode in MODES:
                for name, how in HOW.items():
                    side = f"antiphon {mode}{name}"
                    bench.side(side, "antiphon_reactor", mode, count, 0, how, **fresh(services, mode))
            for name in ("aio_pika", "faststream", "taskiq", "celery", "dramatiq"):
                if isinstance(python, str):
                    bench.missing(name, python)
                else:
                    bench.side(name, f"{name}_consumer", count, python=python, **where)
            steady(bench, count // 4, python, where)
        bench.report(peers.versions("aio-pika", "faststream", "taskiq", "celery", "dramatiq"))


def steady(bench: Bench, count: int, python: Path | str, where: dict[str, str]) -> None:
    """From publishing to handling, at a pace that everybody can keep."""
    for mode in MODES:
        for name, how in HOW.items():
            side = f"antiphon {mode}{name} at {PACE}/s"
            bench.side(side, "antiphon_reactor", mode, count, PACE, how, **fresh(bench.services, mode))
    for name in ("aio_pika", "faststream"):
        if not isinstance(python, str):
            bench.side(f"{name} at {PACE}/s", f"{name}_consumer", count, PACE, python=python, **where)


def fresh(services: DevServices, mode: str) -> dict[str, str]:
    """A database that nothing was in, and keys of the one kind."""
    return {**services.settings(), "ANTIPHON_HOME": f".antiphon/bench/home-{mode}"}


if __name__ == "__main__":
    main()
