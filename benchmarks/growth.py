"""The same flows with much in the store: ``python -m benchmarks.growth [--short]``.

Each size has a PostgreSQL database of its own, and a SQLite file, seeded once with ended and waiting runs,
their histories and marks. Then each is measured in turn, several times over, so that what else goes on at the
machine hits all of them; the figures are medians. ``of_first`` is runs/s against the smallest of its kind.
``resident_mb`` is the memory of the orchestrator (and of whoever asks) after the load: waiting runs must cost
it none. ``GROWTH_LARGEST=300000`` makes the largest store smaller, where a million would take too long.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from antiphon.devservices import DevServices
from benchmarks.harness import SIDES, Bench, SideFailed, arguments, run_side

LARGEST = int(os.environ.get("GROWTH_LARGEST", "1000000"))
LONG = ((1_000, 0), (100_000, 0), (LARGEST, 0), (1_000, 100_000))
SHORT = ((1_000, 0), (20_000, 0), (1_000, 10_000))
STORES = ("postgres", "embedded")
_KEYS = ("per_s", "p50_ms", "p99_ms", "cpu_ms_each", "resident_mb")
_SCRIPT = SIDES / "growth_flows.py"


def main() -> None:
    options = arguments(__doc__ or "")
    count, least = (300, 2) if options.short else (1_000, 9)  # fewer tell of the machine
    rounds = max(least, options.rounds)
    with DevServices() as services, ExitStack() as stack:
        bench = Bench("growth", options, services)
        places: dict[str, dict[str, str]] = {}
        for store in STORES:
            for ended, waiting in SHORT if options.short else LONG:
                name = f"{store}, {ended:,} ended, {waiting:,} waiting"
                if bench.wanted(name):
                    places[name] = place(store, services, stack)
                    seed(name, ended, waiting, places[name])
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in places}
        for number in range(rounds):
            for name, variables in places.items():
                print(f"  {name}, round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
                try:
                    row = run_side(_SCRIPT, "run", f"round{number}", count, 100, variables=variables)
                    found[name].append(row)
                except SideFailed as failure:
                    bench.failed.append((f"{name}, round {number + 1}", str(failure)))
        bench.rows += rows_of(found)
        bench.report({})


def place(store: str, services: DevServices, stack: ExitStack) -> dict[str, str]:
    """Where a store is, and its bus."""
    if store == "embedded":
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return {"ANTIPHON_HOME": folder, "ANTIPHON_DATABASE_URL": f"sqlite:///{folder}/antiphon.db"}
    # What one has not acked at its end would be runs of the next, before those are asked for.
    vhost = stack.enter_context(services.rabbit.vhost())
    return services.settings() | {"ANTIPHON_AMQP_URL": vhost}


def seed(name: str, ended: int, waiting: int, variables: dict[str, str]) -> None:
    """Fill a database."""
    print(f"  seeding {name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    run_side(_SCRIPT, "seed", ended, waiting, variables=variables)
    print(f"  seeded in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def rows_of(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Medians of each size's rounds, and how they stand to those of the first size of its store."""
    first: dict[str, float] = {}
    for name, rows in found.items():
        if rows:
            first.setdefault(_store_of(name), _median(rows, "per_s"))
    return [
        {
            "side": name,
            "rounds": len(rows),
            **{
                key: _median(rows, key) for key in ("per_s", "p50_ms", "p99_ms", "cpu_ms_each", "resident_mb")
            },
            "of_first": round(_median(rows, "per_s") / first[_store_of(name)], 3),
            "lowest_per_s": min(row["per_s"] for row in rows),
            "highest_per_s": max(row["per_s"] for row in rows),
        }
        for name, rows in found.items()
        if rows
    ]


def _store_of(name: str) -> str:
    return name.partition(",")[0]


def _median(rows: Sequence[dict[str, Any]], key: str) -> float:
    return round(statistics.median(row[key] for row in rows), 3)


if __name__ == "__main__":
    main()
