"""A side of a benchmark is a process of its own, and takes its workers with it when it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from benchmarks.harness import SideFailed, run_side

SIDE = """
import json, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
print("BEGIN", flush=True)
if sys.argv[1] == "fails":
    print(worker.pid, file=sys.stderr)
    sys.exit(3)
print("END " + json.dumps({"count": 2, "worker": worker.pid}), flush=True)
time.sleep(600)
"""


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether no such process is at work any more, at the latest then."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", ["measures", "fails"])
def test_no_worker_of_a_side_is_left_behind(tmp_path: Path, how: str) -> None:
    """It is told to end as soon as it has measured, however it deals with those that it started."""
    script = tmp_path / "side.py"
    script.write_text(SIDE)
    if how == "measures":
        row = run_side(script, how)
        assert row["count"] == 2
        worker = row["worker"]
    else:
        with pytest.raises(SideFailed, match="ended with 3") as failed:
            run_side(script, how)
        worker = int(str(failed.value).rpartition(" ")[2])
    assert worker != os.getpid()
    assert gone(worker)
