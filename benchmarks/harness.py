"""What every benchmark shares: services, sides as processes of their own, CPU over all of them, the report.

A side is a script that prints ``BEGIN`` when its warm-up is over and ``END {json}`` when its work is done.
Between the two lines the CPU time of every process is counted: the side's, its workers', the servers'.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from antiphon.devservices import DevServices

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".antiphon" / "bench"
SIDES = Path(__file__).parent / "sides"
_TICK = os.sysconf("SC_CLK_TCK")
_PATIENCE = 900.0  # seconds that one side may take


class SideFailed(Exception):
    """Raised when a side did not measure anything; the text is the end of what it said."""


def arguments(what: str) -> argparse.Namespace:
    """``--short`` for a quick look, ``--only`` for some of the sides, ``--json`` for a file."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--short", action="store_true", help="a tenth of the work: to see that it runs")
    parser.add_argument("--only", default="", help="sides whose name contains this, separated by commas")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    parser.add_argument("--rounds", type=int, default=1, help="all sides in turns, so many times: medians")
    return parser.parse_args()


class Bench:
    """One benchmark: sides are run one after the other on the same services; those that fail are said."""

    def __init__(self, name: str, options: argparse.Namespace, services: DevServices) -> None:
        self.name, self.options, self.services = name, options, services
        self.rows: list[dict[str, Any]] = []
        self.failed: list[tuple[str, str]] = []

    def rounds(self) -> Iterator[int]:
        """Run all sides once for each: what the machine does meanwhile then happens to every side.

        Of several there is one more at first that does not count: servers that have just begun are slow for
        some seconds, which is all that a fast side is measured on, and little of a slow one's time.
        """
        several = self.options.rounds > 1
        if several:
            print("a round that does not count", file=sys.stderr, flush=True)
            yield 0
            self.rows.clear()
        for number in range(1, self.options.rounds + 1):
            if several:
                print(f"round {number} of {self.options.rounds}", file=sys.stderr, flush=True)
            yield number

    def in_turns(self, sides: Sequence[Callable[[], object]]) -> None:
        """Run these in each round, each time in another order.

        What one leaves to the servers to do (files to write back, logs to begin anew) is the next one's loss.
        """
        for number in self.rounds():
            for side in random.Random(f"round {number}").sample(sides, len(sides)):
                side()
        self.rows.sort(key=lambda row: str(row["side"]))

    def wanted(self, side: str) -> bool:
        """Whether ``--only`` lets this side run."""
        only = [part for part in self.options.only.split(",") if part]
        return not only or any(part in side for part in only)

    def side(
        self, name: str, script: str, *options: object, python: Path | None = None, **variables: str
    ) -> dict[str, Any] | None:
        """Run a side, and keep its row; None when it failed or was not wanted.

        On a broker it has a vhost of its own: what one has not acked at its end would be the next one's.
        """
        if not self.wanted(name):
            return None
        print(f"  {name} ...", file=sys.stderr, flush=True)
        try:
            with self._own_vhost(variables) as places:
                row = run_side(SIDES / f"{script}.py", *options, python=python, variables=places)
        except SideFailed as failure:
            self.failed.append((name, str(failure)))
            print(f"  {name}: not measured: {failure}", file=sys.stderr, flush=True)
            return None
        row = {"side": name, **row}
        self.rows.append(row)
        return row

    @contextlib.contextmanager
    def _own_vhost(self, variables: dict[str, str]) -> Iterator[dict[str, str]]:
        named = [name for name in ("AMQP_URL", "ANTIPHON_AMQP_URL") if name in variables]
        if not named:
            yield variables
            return
        with self.services.rabbit.vhost() as vhost:
            yield variables | dict.fromkeys(named, vhost)

    def missing(self, name: str, why: str) -> None:
        """Say that a side can't be had here."""
        if self.wanted(name) and (name, why) not in self.failed:
            self.failed.append((name, why))

    def report(self, versions: Mapping[str, str]) -> None:
        """Print the table, and write the JSON."""
        rows = medians(self.rows)
        found = {
            "benchmark": self.name,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "short": self.options.short,
            "rounds": self.options.rounds,
            "machine": machine(),
            "versions": dict(versions),
            "results": rows,
            "not_measured": [{"side": side, "why": why} for side, why in self.failed],
        }
        path = self.options.json or HOME / "results" / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        print(f"\n{self.name}: {found['machine']}, {', '.join(f'{n} {v}' for n, v in versions.items())}")
        print(table(rows))
        for side, why in self.failed:
            print(f"not measured: {side}: {why}")
        print(f"({path})")


def medians(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each side: of several the median of each figure, and the lowest and the highest rate."""
    sides: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        sides.setdefault(row["side"], []).append(row)
    found: list[dict[str, Any]] = []
    for same in sides.values():
        row = dict(same[0])
        if len(same) > 1:
            numbers = [name for name, value in row.items() if isinstance(value, int | float)]
            row |= {name: statistics.median(one[name] for one in same) for name in numbers}
            rates = sorted(one["per_s"] for one in same)
            row |= {"per_s_low": rates[0], "per_s_high": rates[-1]}
        found.append(row)
    return found


def run_side(
    script: Path, *options: object, python: Path | None = None, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a side measured, with ``cpu_s`` over all processes and, where it tells ``count``, each one's."""
    command = [str(python or sys.executable), str(script), *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})}
    with tempfile.TemporaryFile("w+") as said:
        # A session of its own, so that whatever it started can be ended with it.
        side = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            return _listen(side)
        except SideFailed as failure:
            said.seek(0)
            tail = " | ".join(said.read().strip().splitlines()[-4:])
            raise SideFailed(f"{failure}: {tail}"[:600]) from None
        finally:
            _end(side)


def _end(side: subprocess.Popen[str]) -> None:
    """End a side, and what it left behind."""
    side.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        side.wait(30)
    with contextlib.suppress(ProcessLookupError):  # nothing was left
        os.killpg(side.pid, signal.SIGKILL)
    side.wait()


def _listen(side: subprocess.Popen[str]) -> dict[str, Any]:
    late = threading.Event()

    def give_up() -> None:  # one that hangs says nothing that could be waited for
        late.set()
        side.kill()

    patience = threading.Timer(_PATIENCE, give_up)
    patience.daemon = True
    patience.start()
    try:
        found = _measured(side)
    finally:
        patience.cancel()
    if found is not None:
        return found
    if late.is_set():
        raise SideFailed(f"not done after {_PATIENCE:g} s")
    raise SideFailed(f"ended with {side.wait()} before it had measured")


def _measured(side: subprocess.Popen[str]) -> dict[str, Any] | None:
    """What a side says at its end; None where it ends without."""
    began: dict[int, float] = {}
    assert side.stdout is not None
    for line in side.stdout:
        if line.startswith("BEGIN"):
            began = cpu_of_children()
        elif line.startswith("END "):
            found: dict[str, Any] = orjson.loads(line[4:])
            spent = sum(now - began.get(pid, 0.0) for pid, now in cpu_of_children().items())
            found["cpu_s"] = round(spent, 2)
            if found.get("count"):
                found["cpu_ms_each"] = round(spent * 1000 / found["count"], 3)
            return found
    return None


def cpu_of_children() -> dict[int, float]:
    """CPU seconds by process, of every descendant of this process, with what its own dead children used."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            parents[int(entry.name)] = int(fields[1])
            used[int(entry.name)] = sum(map(int, fields[11:15])) / _TICK
    mine = os.getpid()

    def descends(pid: int) -> bool:
        while pid > 1 and pid != mine:
            pid = parents.get(pid, 0)
        return pid == mine

    return {pid: seconds for pid, seconds in used.items() if pid != mine and descends(pid)}


def machine() -> str:
    """Which machine this is, in a few words."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} cores {model}, Python {platform.python_version()}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as aligned text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
    return "" if value is None else str(value)
