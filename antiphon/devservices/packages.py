"""Where the binaries are, and how Debian and Ubuntu give those that are missing."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from antiphon.devservices.errors import ServiceUnavailable

__all__ = ["can_install", "find", "install"]

# A package's post-install script may start its service; this says no, unless the machine has its own policy.
POLICY = Path("/usr/sbin/policy-rc.d")
LOCK = Path("/run/antiphon-apt.lock")


def find(name: str, patterns: Iterable[str] = ()) -> Path | None:
    """The newest match of the glob patterns (absolute), else ``name`` in PATH."""
    for pattern in patterns:
        matches = sorted(Path("/").glob(pattern.lstrip("/")), key=_version)
        if matches:
            return matches[-1]
    found = shutil.which(name)
    return Path(found) if found else None


def _version(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def can_install() -> bool:
    """Whether this is Debian or one of its children, and we are root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def install(packages: Sequence[str]) -> None:
    """Install Debian packages without starting their services.

    Raises ServiceUnavailable when this machine can't, with what a person could do instead.
    """
    wanted = " ".join(packages)
    if not can_install():
        raise ServiceUnavailable(
            f"{wanted} not found, and only root on Debian or Ubuntu can install it here; install {wanted}, "
            "or point ANTIPHON_TEST_AMQP_URL, _DATABASE_URL and _REDIS_URL at running ones"
        )
    sys.stderr.write(f"Installing {wanted} with apt-get ...\n")
    # One process at a time: apt's own locks are not all waited for, and the policy is one file for all.
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ours = not POLICY.exists()
        if ours:
            POLICY.write_text("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)
        try:
            _apt("update")
            _apt("install", "--yes", "--no-install-recommends", *packages)
        finally:
            if ours:
                POLICY.unlink(missing_ok=True)


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(  # noqa: S603 - fixed command, no shell
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip()[-800:]
        raise ServiceUnavailable(f"{' '.join(command)} ended with {done.returncode}: {last}")
