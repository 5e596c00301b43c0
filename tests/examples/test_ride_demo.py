"""The demo, run as a newcomer runs it: every number is known beforehand, by the rules."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from antiphon.devservices import Postgres, Rabbit, Redis
from examples.ride import rules
from examples.ride.trips import COLUMNS, SAMPLE, Trip, read_trips

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "examples.ride.demo", *arguments]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def demo(folder: Path, *arguments: str, seconds: float = 110, **more: str) -> dict[str, Any]:
    """Run it to its end, and read its last line."""
    done = subprocess.run(
        command(*arguments, "--exit"),
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    said = f"{done.stdout}\n{done.stderr}\n{_logs(folder)}"
    assert done.returncode == 0, said
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert summary["inconsistencies"] == 0, said
    return summary


def _logs(folder: Path) -> str:
    logs = sorted(folder.glob(".antiphon/demo-*/*.log"))
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


def undone(trip: Trip) -> bool:
    """Whether the rules end this trip before its pivot."""
    pickup = trip.request["pickup"]
    dry = rules.zone_is_dry(pickup["zone"], pickup["at"])
    return dry or rules.card_declined(trip.ride_id, trip.request["payment"])


def expected(trips: Iterable[Trip]) -> dict[str, int]:
    good = list(trips)
    compensated = sum(undone(trip) for trip in good)
    completed = len(good) - compensated
    return {
        "accepted": len(good),
        "completed": completed,
        "compensated": compensated,
        "failed": 0,
        "notified": 2 * completed + compensated,
        "dead_letters": 0,
    }


def file_with_flaws(path: Path, good: int) -> Path:
    """The first trips of the sample, and after each tenth a copy with one flaw."""
    flaws = [{"pickup_zone": ""}, {"payment": ""}, {"distance": "0.0"}, {"dropoff_zone": ""}]
    with SAMPLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:good]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, row in enumerate(rows, start=1):
            writer.writerow(row)
            if number % 10 == 0:
                writer.writerow({**row, **flaws[number // 10 % len(flaws)]})
    return path


def test_every_trip_ends_as_the_rules_say(tmp_path: Path) -> None:
    """Forty good rows and four flawed ones: completed, undone, refused and told, all in order."""
    data = file_with_flaws(tmp_path / "trips.csv", 40)
    trips = list(read_trips(data))
    flawed = [trip for trip in trips if trip.number % 11 == 0]
    summary = demo(tmp_path, "--data", str(data))
    wanted = expected(trip for trip in trips if trip not in flawed)
    assert {name: summary[name] for name in wanted} == wanted
    assert (summary["trips"], summary["rejected"]) == (44, 4)
    assert not list(tmp_path.glob(".antiphon/demo-*")), "a demo in order leaves nothing behind"


def test_the_house_is_killed_half_way_and_nothing_is_lost(tmp_path: Path) -> None:
    """kill -9 of the one process that holds everything: started again, it goes on where it was."""
    summary = demo(tmp_path, "--trips", "60", "--fault", "house")
    wanted = expected(read_trips(SAMPLE, 60))
    assert {name: summary[name] for name in wanted} == wanted
    assert summary["broken"] == ["kill -9 house"]


def test_ctrl_c_stops_the_demo_in_order(tmp_path: Path) -> None:
    """While it serves on, an interrupt ends it with the exit code of its audit, and the house with it."""
    process = subprocess.Popen(
        command("--trips", "5"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said, until = [], time.monotonic() + 100
    while not (said and said[-1].startswith("{")) and time.monotonic() < until:
        line = process.stdout.readline()
        assert line, f"it ended: {said}\n{process.communicate()[1]}\n{_logs(tmp_path)}"
        said.append(line)
    assert json.loads(said[-1])["inconsistencies"] == 0
    address = next(line for line in said if line.startswith("Dashboard: ")).split()[1]
    with urllib.request.urlopen(f"{address}healthz", timeout=10) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}healthz", timeout=10)


def test_a_house_that_can_not_stand_is_said_so(tmp_path: Path) -> None:
    """A port that is taken ends the demo at once with what the process said, and where it is all written."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("--trips", "5", "--exit", "--port", port),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1, done.stderr
    assert "The demo could not go on: house ended with" in done.stderr
    assert "in use" in done.stderr
    assert "Ledger, logs and database are in" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_roles_of_their_own_survive_the_death_of_two(
    tmp_path: Path, rabbit: Rabbit, postgres: Postgres, redis_server: Redis
) -> None:
    """On real services, an orchestrator and a reactor process killed half way lose nothing."""
    with rabbit.vhost() as amqp_url:
        summary = demo(
            tmp_path,
            "--trips",
            "60",
            "--services",
            seconds=280,
            ANTIPHON_TEST_AMQP_URL=amqp_url,
            ANTIPHON_TEST_DATABASE_URL=postgres.url("postgres"),
            ANTIPHON_TEST_REDIS_URL=redis_server.url,
        )
    wanted = expected(read_trips(SAMPLE, 60))
    assert {name: summary[name] for name in wanted} == wanted
    assert summary["broken"] == ["kill -9 orchestrator-1", "kill -9 reactors-1"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "nowhere.csv"], "there is no such file"),
        (["--trips", "0"], "at least 1"),
        (["--concurrency", "501"], "1 to 500"),
        (["--fault", "redis"], "with --services"),
        (["--fault", "house", "--services"], "without --services"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_at_once(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    """Before anything is started, with what to do instead."""
    done = subprocess.run(
        command(*arguments), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert complaint in done.stderr
