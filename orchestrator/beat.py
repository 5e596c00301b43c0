"""The beat of one process: its partitions take their turns together, so that their commits are one.

Each partition could go at its own pace. A shared commit would then hold whoever happened to wait for it: one
or two happenings each, of half of the partitions. In step, all that came to any of them since the last beat
is one question and one commit. While that is under way, the next beat is of those that are not in it. Only
the number of commits depends on it: whoever is held up (by a store that does not answer, by a lease that may
have ended) leaves the beat, and the others go on.
"""

from __future__ import annotations

import asyncio

__all__ = ["Beat", "Share"]


class Beat:
    """Shared by the partitions of a process."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []  # for the next beat
        self._deciding = 0  # how many are in the present one
        self._decided: list[asyncio.Future[None]] = []
        self._called = False

    def join(self) -> Share:
        """A share in the next beat: ``async with`` it for a turn."""
        return Share(self)

    async def enter(self) -> None:
        """Wait for the next beat, which is at once when nobody is deciding."""
        come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(come)
        self._call()
        try:
            await come
        except asyncio.CancelledError:
            if not come.cancelled():  # else the beat that begins passes it over
                self.leave()
            raise

    async def decided(self) -> None:
        """Return once everybody in this beat has decided or left, so that all commit at the same moment."""
        if self._deciding > 1:
            come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._decided.append(come)
            self._deciding -= 1
            await come
        else:
            self.leave()

    def leave(self) -> None:
        """One less to be waited for; the last one lets the others commit and calls the next beat."""
        self._deciding -= 1
        if not self._deciding:
            for come in self._decided:
                if not come.done():
                    come.set_result(None)
            self._decided.clear()
            self._call()

    def _call(self) -> None:
        if not (self._deciding or self._called) and self._waiting:
            self._called = True  # in the loop's next turn: whoever is woken in this one comes with it
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._called = False
        coming = [come for come in self._waiting if not come.done()]
        self._deciding = len(coming)
        self._waiting.clear()
        for come in coming:
            come.set_result(None)


class Share:
    """One partition's turn in a beat."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self._deciding = False

    async def __aenter__(self) -> Share:
        await self._beat.enter()
        self._deciding = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    async def decided(self) -> None:
        """See ``Beat.decided``; nothing where this share has decided before, or left."""
        if self._deciding:
            self._deciding = False
            await self._beat.decided()

    def leave(self) -> None:
        """Let the others go on without this turn, however long it may still take."""
        if self._deciding:
            self._deciding = False
            self._beat.leave()
