"""How sides are run."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import cast

import psutil
import pytest

from antiphon.devservices import DevServices
from benchmarks.harness import Bench, SideFailed, medians, run_side

SIDE = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("BEGIN", flush=True)
sum(range(10_000_000))
print("END " + json.dumps({"count": 10, "child": child.pid}), flush=True)
time.sleep(600)
"""


def test_a_side_ends_with_everything_that_it_started(tmp_path: Path) -> None:
    """Also when it is stopped before it could stop its own children; its CPU time was counted."""
    script = tmp_path / "side.py"
    script.write_text(SIDE)
    found = run_side(script)
    assert found["cpu_s"] > 0
    assert found["cpu_ms_each"] == pytest.approx(found["cpu_s"] * 100, abs=1)
    for _ in range(100):
        if not psutil.pid_exists(found["child"]):
            break
        time.sleep(0.05)
    assert not psutil.pid_exists(found["child"])


def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    """The end of what it said is in the failure."""
    script = tmp_path / "side.py"
    script.write_text("raise SystemExit('no server to be had')")
    with pytest.raises(SideFailed, match="no server to be had"):
        run_side(script)


def test_rounds_come_to_medians() -> None:
    """Each side has one row, in its first place; one that ran once is left as it is."""
    ran = [("a", 10.0, 1), ("b", 5.0, 1), ("a", 30.0, 9), ("a", 11.0, 2)]
    found = medians([{"side": side, "per_s": rate, "count": count} for side, rate, count in ran])
    assert found == [
        {"side": "a", "per_s": 11.0, "count": 2, "per_s_low": 10.0, "per_s_high": 30.0},
        {"side": "b", "per_s": 5.0, "count": 1},
    ]


def test_sides_in_turns_run_in_every_round_and_not_always_behind_the_same_one() -> None:
    """Four rounds of six, the first of which does not count; the rows stand by their names."""
    options = argparse.Namespace(rounds=3, only="")
    bench = Bench("turns", options, cast(DevServices, None))
    ran: list[str] = []

    def side(name: str) -> None:
        ran.append(name)
        bench.rows.append({"side": name})

    bench.in_turns([partial(side, name) for name in "fedcba"])
    rounds = ["".join(ran[at : at + 6]) for at in range(0, len(ran), 6)]
    assert [sorted(each) for each in rounds] == [list("abcdef")] * 4
    assert len(set(rounds)) == 4
    assert "".join(row["side"] for row in bench.rows) == "aaabbbcccdddeeefff"
