"""``python -m examples.ride.demo``: real trips through the whole house, and an audit of the books."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from antiphon.devservices import ServiceUnavailable
from examples.ride.demo.breaks import FAULTS
from examples.ride.demo.client import GatewayGone, Refused
from examples.ride.demo.house import HouseFailed
from examples.ride.demo.report import Summary
from examples.ride.demo.show import Show, Wishes
from examples.ride.trips import SAMPLE

__all__ = ["main"]

BASE = Path(".antiphon")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. Exits with 2 when it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m examples.ride.demo", description=__doc__)
    parser.add_argument("--trips", type=int, metavar="N", help="at most this many (all of the file)")
    parser.add_argument("--data", type=Path, default=SAMPLE, metavar="PATH", help="a CSV of trips")
    parser.add_argument("--exit", action="store_true", help="end by itself instead of serving on")
    parser.add_argument("--keep", action="store_true", help="leave the folder with everything in it")
    parser.add_argument("--port", type=int, default=0, help="the gateway's port (a free one)")
    parser.add_argument("--concurrency", type=int, default=100, metavar="N", help="rides under way at once")
    parser.add_argument("--rate", type=float, metavar="R", help="new rides per second (as fast as it goes)")
    parser.add_argument(
        "--services",
        action="store_true",
        help="real RabbitMQ, PostgreSQL and Redis, each role a process; two are killed half way",
    )
    parser.add_argument(
        "--fault",
        action="append",
        choices=FAULTS,
        default=[],
        help="half way: restart a service, or (without --services) kill -9 the house",
    )
    found = parser.parse_args(arguments)
    if not found.data.is_file():
        parser.error(f"--data {found.data}: there is no such file")
    if found.trips is not None and found.trips < 1:
        parser.error(f"--trips {found.trips}: at least 1")
    if not 1 <= found.concurrency <= 500:
        parser.error(f"--concurrency {found.concurrency}: 1 to 500; there are no drivers for more")
    for fault in found.fault:
        if (fault == "house") == found.services:
            form = "without" if fault == "house" else "with"
            parser.error(f"--fault {fault} is for the form {form} --services")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """0: everything is in order. 1: it is not, or the demo could not run. 130: interrupted."""
    asked = parse(sys.argv[1:] if arguments is None else arguments)
    news = Console(stderr=True)
    BASE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=time.strftime("demo-%Y%m%d-%H%M%S-"), dir=BASE))
    show = Show(_wishes(asked), folder, Console(), news)
    try:
        summary = asyncio.run(_until_told(show))
    except KeyboardInterrupt:
        news.print("Stopped.")
        return 130
    except (GatewayGone, HouseFailed, Refused, ServiceUnavailable, ValueError) as error:
        news.print(f"The demo could not go on: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    finally:
        if show.summary is None:
            show.say_where()
    if summary.inconsistencies:
        return 1
    if not asked.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _until_told(show: Show) -> Summary:
    """Perform; Ctrl-C and SIGTERM close everything in order, whatever was going on."""
    performing = asyncio.create_task(show.perform())
    loop = asyncio.get_running_loop()
    for how in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(how, performing.cancel)
    try:
        return await performing
    except asyncio.CancelledError:
        if show.summary is None:
            raise KeyboardInterrupt from None
        return show.summary  # it was over, and only kept serving


def _wishes(asked: argparse.Namespace) -> Wishes:
    return Wishes(
        data=asked.data,
        trips=asked.trips,
        serve_on=not asked.exit,
        keep=asked.keep,
        port=asked.port,
        concurrency=asked.concurrency,
        rate=asked.rate,
        services=asked.services,
        faults=tuple(asked.fault),
    )


if __name__ == "__main__":
    sys.exit(main())
