"""One run at a time: ``python -m benchmarks.latency [--short]``.

``antiphon`` is a start, three steps and the news of the end, in one process; ``gateway wait`` the same
through HTTP with ``Prefer: wait``. A step's share is about a third of the first.
"""

from __future__ import annotations

import tempfile

from antiphon.devservices import DevServices
from antiphon.devservices.ports import free_ports
from benchmarks.flows import ours
from benchmarks.harness import Bench, arguments


def main() -> None:
    options = arguments(__doc__ or "")
    count = 50 if options.short else 500
    with DevServices() as services:
        bench = Bench("latency", options, services)
        services.prepare()
        for _ in bench.rounds():
            ours(bench, "antiphon", "here", count, 1)
            gateway(bench, "gateway wait", "wait", count, 1)
        bench.report({})


def gateway(bench: Bench, name: str, mode: str, count: int, at_once: int) -> None:
    """Every role in one process, with PostgreSQL, RabbitMQ and Redis; the load in another."""
    if bench.wanted(name):
        with tempfile.TemporaryDirectory() as folder:
            places = {
                **bench.services.settings(),
                "ANTIPHON_HOME": folder,
                "ANTIPHON_PORT": str(free_ports(1)[0]),
                "ANTIPHON_ADMIN_KEY": "benchmark-key-of-this-run-only",
                "ANTIPHON_REQUESTS_PER_SECOND": "1000000",
                "ANTIPHON_REQUEST_BURST": "1000000",
            }
            bench.side(name, "gateway_load", mode, count, at_once, **places)


if __name__ == "__main__":
    main()
