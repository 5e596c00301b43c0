"""Where work waits that may be to blame for the end of its process, so that the guilty one is found."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["WHOLE", "Line"]

WHOLE = 100
"""The room that there is: who takes all of it is alone."""


class Line:
    """First come, first served: each takes a share of the room, and waits until that is free."""

    def __init__(self) -> None:
        self._free = WHOLE
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def share(self, size: int) -> AsyncIterator[None]:
        """Inside with a share of this size, 1 to ``WHOLE``."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._let_in()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._free += size
            elif (size, turn) in self._waiting:
                self._waiting.remove((size, turn))
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= size
                turn.set_result(None)
