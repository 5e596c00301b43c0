"""The same flows with much in the store: ``python -m benchmarks.growth [--short]``.

Ended and waiting runs are seeded in bulk (rows of ``runs``), then runs/s are measured as in ``flows``.
``resident_mb`` is the orchestrator's memory after the load: waiting runs must cost it none.
"""

from __future__ import annotations

from antiphon.devservices import DevServices
from benchmarks.harness import Bench, arguments

LONG = ((1_000, 0), (100_000, 0), (1_000_000, 0), (1_000, 100_000))
SHORT = ((1_000, 0), (20_000, 0), (1_000, 10_000))


def main() -> None:
    options = arguments(__doc__ or "")
    count = 200 if options.short else 2_000
    with DevServices() as services:
        bench = Bench("growth", options, services)
        for ended, waiting in SHORT if options.short else LONG:
            seeds = {"SEED_ENDED": str(ended), "SEED_WAITING": str(waiting)}
            name = f"{ended:,} ended, {waiting:,} waiting"
            bench.side(name, "antiphon_flows", "here", count, 100, **services.settings(), **seeds)
        bench.report({})


if __name__ == "__main__":
    main()
