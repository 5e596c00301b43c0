"""What was handed over and is not answered yet: how much it is, and how long the way takes now."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

__all__ = ["Backlog"]

_FORGOTTEN = 600.0  # s: what is overtaken for so long was refused somewhere, and will never be answered


class Backlog:
    """Everything under way, oldest first. It holds an id and a time for each, nothing else.

    The age is that of the oldest one that none younger has overtaken: an entry whose answer never comes
    (it was quarantined, or its partition is stuck) must not look like a delay for all.
    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()
        self._overtaken: OrderedDict[str, float] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return len(self._since) + len(self._overtaken)

    def age(self) -> float:
        """How long the oldest one that was not overtaken has waited; 0 with nothing under way."""
        for since in self._since.values():
            return max(0.0, self._clock() - since)
        return 0.0

    def add(self, id: str) -> None:
        """Handed over now. One that is under way already keeps its time."""
        if id not in self._since and id not in self._overtaken:
            self._since[id] = self._clock()

    def answered(self, id: str) -> None:
        """It has its answer, so whatever was handed over before it was overtaken."""
        self._overtaken.pop(id, None)
        since = self._since.get(id)
        if since is None:
            return
        now = self._clock()
        while self._since:
            older, at = self._since.popitem(last=False)
            if older == id:
                break
            self._overtaken[older] = at
        while self._overtaken:
            older, at = next(iter(self._overtaken.items()))
            if now - at < _FORGOTTEN:
                break
            del self._overtaken[older]

    def drop(self, id: str) -> None:
        """It was not handed over after all."""
        self._since.pop(id, None)
        self._overtaken.pop(id, None)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """For something without an id of its own: answered when the block ends, dropped when it fails."""
        self._count += 1
        id = str(self._count)
        self.add(id)
        try:
            yield
        except BaseException:
            self.drop(id)
            raise
        self.answered(id)

    def older_than(self, age: float, most: int) -> list[str]:
        """The ids of those that have waited for so long, up to ``most``, overtaken ones first."""
        until = self._clock() - age
        found = list(islice((id for id, at in self._overtaken.items() if at <= until), most))
        for id, at in self._since.items():
            if at > until or len(found) >= most:
                break
            found.append(id)
        return found
