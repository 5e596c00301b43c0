"""A script that outlives its parent: ends what the parent started and throws its folder away.

It reads lines from stdin, ``hold PID``, ``release PID`` and ``folder PATH``; the pipe closes when the parent
closes it or dies, in whatever way, ``kill -9`` too. PR_SET_PDEATHSIG is no substitute: it fires when the
*thread* that started the child ends, is lost at a change of user, and leaves the folder behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Follow the parent's lines until the pipe closes, then end and remove what is still held."""
    held: set[int] = set()
    folders: list[str] = []
    for line in sys.stdin:
        verb, _, what = line.rstrip("\n").partition(" ")
        if verb == "hold":
            held.add(int(what))
        elif verb == "release":
            held.discard(int(what))
        elif verb == "folder":
            folders.append(what)
    for pid in held:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, which is all we want
            os.killpg(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
