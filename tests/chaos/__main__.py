"""``make chaos``: break each thing in turn under load, and count what was lost or done twice."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from antiphon.devservices import ServiceUnavailable
from examples.ride.demo.client import GatewayGone
from examples.ride.demo.house import HouseFailed
from examples.ride.trips import Trip
from tests.chaos.account import Account, render, settle
from tests.chaos.disk import full_disk
from tests.chaos.faults import FAULTS, Pace
from tests.chaos.ground import Ground, Servers, open_ground, open_servers, settings_of
from tests.chaos.load import Load, good_trips
from tests.chaos.takeover import GOAL, measure_takeover

__all__ = ["main", "strike"]

LIMIT = 600.0  # seconds for everything
DISK = "full-disk"
TAKEOVER = "takeover"
NAMES = (*FAULTS, DISK, TAKEOVER)
SHORT = ("leader", DISK)
SHORT_PACE = Pace(before=2.0, after=4.0, without_postgres=1.0, without_redis=6.0, frozen=12.0)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. Exits with 2 when it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"{' and '.join(SHORT)} only, at a quicker pace")
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="FAULT",
        help=f"one of {', '.join(NAMES)}; repeatable",
    )
    parser.add_argument("--rate", type=float, default=5.0, metavar="R", help="new rides a second (5)")
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs and books")
    return parser.parse_args(arguments)


async def strike(
    name: str, ground: Ground, servers: Servers, *, pace: Pace, rate: float, trips: list[Trip]
) -> Account:
    """One fault under load, and what became of the rides.

    Raises HouseFailed when a process ended that nobody killed.
    """
    async with Load(ground.gateway, name, rate=rate, trips=trips) as load:
        await asyncio.sleep(pace.before)
        mark = await FAULTS[name](ground, servers, pace)
    ground.house.check()
    return await settle(ground.gateway, ground.ledger, ground.mailbox, load, mark)


async def takeover(folder: Path, servers: Servers) -> Account:
    """A thousand runs in flight, and their orchestrator is killed."""
    settings = await asyncio.to_thread(settings_of, servers)
    found = await measure_takeover(folder, settings)
    return Account(
        fault=TAKEOVER,
        sent=found.runs,
        completed=found.completed,
        lost=found.lost,
        duplicated_effects=found.doubled,
        recovered_s=found.longest_s,
        slowest_s=found.longest_s,
        figures={
            "in_flight": found.in_flight,
            "affected": found.affected,
            "p50_s": found.p50_s,
            "p99_s": found.p99_s,
            "goal_p99_s": GOAL,
            "others_p99_s": found.others_p99_s,
        },
    )


def is_good(account: Account) -> bool:
    """Whether nothing was lost or doubled, and a takeover was as quick as it is to be."""
    quick = account.figures.get("p99_s", 0.0) < account.figures.get("goal_p99_s", 1.0)
    return account.lost == account.duplicated_effects == 0 and quick


def asked_for(asked: argparse.Namespace) -> tuple[str, ...]:
    """The names of the faults, each once."""
    return tuple(dict.fromkeys(asked.only or (SHORT if asked.short else NAMES)))


async def perform(asked: argparse.Namespace, folder: Path, tell: Callable[[Account], None]) -> None:
    """Every fault that was asked for, one after the other; each is told of as it is over."""
    names = asked_for(asked)
    pace = SHORT_PACE if asked.short else Pace()
    trips = good_trips()
    if DISK in names:
        tell(await full_disk(folder / "embedded", pace=pace, rate=asked.rate, trips=trips))
    if not set(names) - {DISK}:
        return
    async with open_servers() as servers:
        if TAKEOVER in names:
            tell(await takeover(folder / "takeover", servers))
        if set(names) & set(FAULTS):
            async with open_ground(folder / "roles", servers) as ground:
                for name in names:
                    if name in FAULTS:
                        tell(await strike(name, ground, servers, pace=pace, rate=asked.rate, trips=trips))


async def _bounded(asked: argparse.Namespace, folder: Path, tell: Callable[[Account], None]) -> None:
    performing = asyncio.create_task(perform(asked, folder, tell))
    for how in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(how, performing.cancel)
    async with asyncio.timeout(LIMIT):
        await performing


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all is well. 1: something was lost, doubled, too slow or not tried. 3: it can't be tried here.

    130: interrupted. Whatever is 0 or 1 ends with the line of JSON.
    """
    asked = parse(sys.argv[1:] if arguments is None else arguments)
    folder = Path(tempfile.mkdtemp(prefix="antiphon-chaos-"))
    began, accounts = time.monotonic(), list[Account]()

    def tell(account: Account) -> None:
        accounts.append(account)
        print(render(account), file=sys.stderr, flush=True)

    try:
        asyncio.run(_bounded(asked, folder, tell))
    except asyncio.CancelledError:
        return 130
    except ServiceUnavailable as error:
        print(error, file=sys.stderr)
        return 3
    except (GatewayGone, HouseFailed) as error:
        print(f"It could not go on: {error}", file=sys.stderr)
    except TimeoutError:
        print(f"It did not come to its end within {LIMIT:.0f} s.", file=sys.stderr)
    document = report(asked_for(asked), accounts, time.monotonic() - began)
    if document["ok"] and not asked.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"Logs and books are in {folder}", file=sys.stderr)
    print(json.dumps(document), flush=True)
    return 0 if document["ok"] else 1


def report(names: Sequence[str], accounts: Sequence[Account], seconds: float) -> dict[str, Any]:
    """The line for machines; ``unfinished`` are the faults that were asked for and are not in it."""
    done = {account.fault: account.line() for account in accounts}
    unfinished = [name for name in names if name not in done]
    good = all(map(is_good, accounts)) and not unfinished
    return {"ok": good, "seconds": round(seconds, 1), "faults": done, "unfinished": unfinished}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
