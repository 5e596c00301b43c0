"""Crash points: places with a name at which a test kills this very process.

``reached("orchestrator.partition.commit.before")`` stands directly before and behind every commit,
publish, ack and effect (``tests/crash/points.py`` derives from the code where one must stand). Unarmed,
as every process is unless a test says otherwise, it compares two names and returns.

``ANTIPHON_TEST_CRASH_AT=NAME[:NTH]`` arms one point for the life of a process: when it is reached for the
NTH time (the first, unless said), the process says so on standard error and sends itself SIGKILL. No
handler runs, nothing is flushed, nothing is closed: what a power cut leaves of a process.
"""

from __future__ import annotations

import os
import signal

__all__ = ["VARIABLE", "arm", "reached"]

VARIABLE = "ANTIPHON_TEST_CRASH_AT"

_armed: str | None = None
_left = 0  # how many times it is still passed; the last of them is the end


def reached(name: str) -> None:
    """This place was reached; does not return when it is the armed one."""
    if name == _armed:
        _count_down(name)


def arm(at: str | None) -> None:
    """Arm ``NAME[:NTH]``, or nothing. Raises ValueError when NTH is no number above zero."""
    global _armed, _left
    name, _, nth = (at or "").partition(":")
    if nth and not (nth.isascii() and nth.isdigit() and int(nth) > 0):
        raise ValueError(f"{VARIABLE}={at!r}: behind the colon stands how many times, counted from 1")
    _armed, _left = name or None, int(nth or 1)


def _count_down(name: str) -> None:
    global _left
    _left -= 1
    if _left == 0:
        os.write(2, f"crash point {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(VARIABLE))
