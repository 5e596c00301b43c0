"""Kills a house at each of many points, a few houses at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from tests.crash.customer import visit, visit_the_archive, visit_the_slow
from tests.crash.lives import Backing, House, Nursery
from tests.crash.promises import archived, broken, look

__all__ = ["Campaign"]

# What not every house comes by. NEWER: a flow that the first life's orchestrator does not know. UNFIT: a
# start that the database does not take. SLOW: a reaction at work when the process is asked to stop.
# AGED: what has ended leaves for the archive.
NEWER = ("orchestrator.onward.", "gateway.idempotency.accepted.")
UNFIT = ("orchestrator.partition.refused.",)
SLOW = ("reactors.desk.give_back.",)
AGED = ("store.retention.runs.", "store.retention.shelf.")

_SETTLED = ("done", "discarded")

Furnish = Callable[[Path], AbstractContextManager[Backing]]


class Campaign:
    """Begins with all of ``points`` (``NAME[:NTH]``) at once; ``outcome`` waits for one of them.

    ``furnish`` makes the store, and the broker, of the house in a folder.
    """

    def __init__(self, points: Iterable[str], folder: Path, furnish: Furnish, *, houses: int) -> None:
        self._folder = folder
        self._furnish = furnish
        self._nurseries: list[Nursery] = []
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(houses)
        self._outcomes: dict[str, Future[list[str]]] = {at: self._pool.submit(self.kill, at) for at in points}

    def outcome(self, at: str) -> list[str]:
        """Which promises a kill at this point broke. Raises AssertionError when it was not reached."""
        return self._outcomes[at].result()

    def close(self) -> None:
        """Give up what has not begun, and end every process."""
        self._pool.shutdown(cancel_futures=True)
        for nursery in self._nurseries:
            nursery.close()

    def kill(self, at: str, *, sabotage: str | None = None, limit: float = 90.0) -> list[str]:
        """One house, now; ``limit`` in seconds. Like ``outcome``."""
        folder = self._folder / f"{at.replace(':', '-')} {sabotage or ''}"
        folder.mkdir()
        newer, unfit = at.startswith(NEWER), at.startswith(UNFIT)
        with self._furnish(folder) as backing:
            house = House(self._nursery(), folder, backing, at, old=newer, sabotage=sabotage, limit=limit)
            with house:
                settled = partial(_settled, folder, backing.database_url)
                answers = visit(house, settled=settled, newer=newer, unfit=unfit)
                if at.startswith(SLOW):
                    visit_the_slow(house, answers)
                house.stop()
                left = look(folder, backing.database_url)
                problems = broken(left, answers, newer=newer, unfit=unfit)
                if at.startswith(AGED):
                    visit_the_archive(house)
                    problems += archived(left, look(folder, backing.database_url), folder / "archive")
                assert house.died, f"{at} was never reached:\n{house.lives[-1].log[-4000:]}"
            return problems

    def _nursery(self) -> Nursery:
        if not hasattr(self._own, "nursery"):
            self._own.nursery = Nursery()
            self._nurseries.append(self._own.nursery)
        nursery: Nursery = self._own.nursery
        return nursery


def _settled(folder: Path, database_url: str) -> bool:
    """Whether no reaction is in anybody's hands, or to be tried again."""
    return all(row.status in _SETTLED for row in look(folder, database_url).rows["reactions"])
