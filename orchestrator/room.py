"""Room for more: who brings work in waits while there is too much of it already, and what is idle goes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from orchestrator.run import Run

__all__ = ["Room", "forget"]


class Room:
    """Open while less than ``most`` are there, and again once a fifth has gone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._again = most - most // 5
        self._open = asyncio.Event()
        self._open.set()

    def note(self, count: int) -> None:
        """So many are there now."""
        if count >= self._most:
            self._open.clear()
        elif count < self._again:
            self._open.set()

    async def wait(self) -> None:
        """Return once it is open."""
        await self._open.wait()


def forget(runs: OrderedDict[str, Run], changed: Iterable[str], most: int) -> None:
    """A run that waits costs a row, not memory: what ended goes, and the longest unused beyond ``most``.

    ``changed`` are those that were in use just now. What is at work always stays.
    """
    for run_id in changed:
        run = runs.get(run_id)
        if run is None:
            continue
        if run.ended:
            del runs[run_id]
        else:
            runs.move_to_end(run_id)
    spare = len(runs) - most
    if spare > 0:
        idle = [run_id for run_id, run in runs.items() if not run.busy]
        for run_id in idle[:spare]:
            del runs[run_id]
