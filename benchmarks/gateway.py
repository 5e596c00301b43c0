"""Accepted runs through HTTP, 200 connections: ``python -m benchmarks.gateway [--short]``.

``bare`` is a FastAPI handler that only parses the same body: the difference is what durability, keys,
contracts and limits cost. Both get the same load, from a client of a few lines over kept connections, which
is a process of its own and shares the machine.
"""

from __future__ import annotations

from antiphon.devservices import DevServices
from antiphon.devservices.ports import free_ports
from benchmarks.harness import Bench, arguments
from benchmarks.latency import gateway


def main() -> None:
    options = arguments(__doc__ or "")
    count, at_once = (400, 50) if options.short else (5_000, 200)
    with DevServices() as services:
        bench = Bench("gateway", options, services)
        services.prepare()
        for _ in bench.rounds():
            gateway(bench, "antiphon accepted", "accept", count, at_once)
            port = str(free_ports(1)[0])
            bench.side("bare FastAPI", "gateway_load", "bare", count, at_once, ANTIPHON_PORT=port)
        bench.report({})


if __name__ == "__main__":
    main()
