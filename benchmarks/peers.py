"""The peers: each from its own registry, pinned, into folders under .antiphon/bench, never into .venv."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import HOME

LOCK = Path(__file__).parent / "peers.lock"
RESTATE = "@restatedev/restate-server@1.7.12"


@functools.cache
def python() -> Path | str:
    """The Python of the peers; a text says why there is none."""
    home = HOME / "peers"
    stamp = home / ".made"
    if stamp.exists() and stamp.read_bytes() == LOCK.read_bytes():
        return home / "bin" / "python"
    print("Installing the peers ...", file=sys.stderr, flush=True)
    made = _run(sys.executable, "-m", "venv", str(home)) or _run(
        str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--require-hashes", "-r", str(LOCK),
    )  # fmt: skip
    if made:
        return made
    stamp.write_bytes(LOCK.read_bytes())
    return home / "bin" / "python"


@functools.cache
def restate() -> Path | str:
    """Restate's server; a text says why there is none."""
    home = HOME / "npm"
    binary = next(iter(home.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")), None)
    if binary is None:
        home.mkdir(parents=True, exist_ok=True)
        print("Installing Restate ...", file=sys.stderr, flush=True)
        made = _run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(home), RESTATE)
        binary = next(iter(home.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")), None)
        if binary is None:
            return made or "its package has no server for this machine"
    return binary


def versions(*names: str) -> dict[str, str]:
    """What the lock says, by package."""
    pins = dict(
        line.split(" ")[0].split("==")
        for line in LOCK.read_text().splitlines()
        if "==" in line and line[0] != " "
    )
    return {name: pins[name] for name in names if name in pins}


def _run(*command: str) -> str:
    """Nothing when it went well, else the end of what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip()[-300:]
