"""Every benchmark, one after the other: ``python -m benchmarks [--short]``."""

from __future__ import annotations

import subprocess
import sys

NAMES = ("flows", "bus_flows", "latency", "publishing", "reactors", "gateway", "growth")

if __name__ == "__main__":
    failed = [
        name
        for name in NAMES
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=False).returncode
    ]
    sys.exit(f"these benchmarks failed: {', '.join(failed)}" if failed else 0)
