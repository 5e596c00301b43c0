"""More than can be done, for minutes: ``python -m benchmarks.overload [--minutes 10] [--short]``.

Every role in one process (``antiphon up``), on PostgreSQL, RabbitMQ and Redis. First its capacity is
measured: 100 clients that each wait for the end of their run. Then starts come at three times that rate, from
clients that don't heed ``Retry-After``. Afterwards every run that was accepted must have ended, and a new one
must be as quick as before. ``resident_mb`` is the process's memory: before, the most in the first and in the
last third, the most at all, and after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

import orjson

from antiphon.devservices import DevServices
from benchmarks.harness import HOME, machine, table
from benchmarks.pressure import Figures, House, capacity, overload, recovery

TIMES = 3
_CONNECTIONS = 3_000  # more than the requests that a gateway has at work


async def measure(services: DevServices, seconds: float, connections: int) -> Figures:
    """All of it, on servers that run."""
    async with House(services.settings()) as house:
        each = await capacity(house, 3.0)
        each = await capacity(house, min(15.0, seconds))  # the first was the warm-up
        print(f"  capacity: {each:.0f} runs/s; now {TIMES * each:.0f} starts/s", file=sys.stderr, flush=True)
        figures = Figures(capacity_per_s=round(each, 1), offered_per_s=round(TIMES * each, 1))
        await overload(house, figures, seconds=seconds, connections=connections)
        await recovery(house, figures)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the overload goes on")
    parser.add_argument("--short", action="store_true", help="20 seconds of it")
    parser.add_argument("--json", type=Path, help="write the result there as well")
    options = parser.parse_args()
    seconds = 20.0 if options.short else options.minutes * 60
    with DevServices() as services:
        services.prepare()
        figures = asyncio.run(measure(services, seconds, _CONNECTIONS))
    row = figures.row()
    print(f"\noverload: {machine()}")
    print(table([{"what": name, "measured": value} for name, value in row.items()]))
    found = {"benchmark": "overload", "machine": machine(), "seconds": seconds, **row}
    path = options.json or HOME / "results" / "overload.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    print(json.dumps(found))
    sys.exit(1 if figures.lost or not figures.accepted else 0)


if __name__ == "__main__":
    main()
