"""Starts on their way to the bus: those that are asked for in one moment share a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from copy import copy

from bus.port import Bus, Outgoing
from contracts.crash import reached
from orchestrator import wire
from orchestrator.happenings import StartRequested
from orchestrator.start_messages import parts_of, starts_event, written

__all__ = ["Starts"]

_Waiting = tuple[StartRequested, bytes, "asyncio.Future[None]"]


class Starts:
    """Hands starts to the bus: those of one moment in one message for each partition and workspace.

    A message is much the same work for the broker, and for whoever reads it, whether it holds one start or
    twenty. Nobody waits for company: who asks alone has a message of its own. One workspace in each,
    since what is quarantined is shown to its workspace.
    """

    def __init__(self, bus: Bus, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._clock = clock
        self._gathered: dict[tuple[int, str], list[_Waiting]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def publish(self, asked: StartRequested) -> None:
        """Returns on the broker's confirm. Raises PublishFailed and BusUnavailable.

        TypeError when no JSON holds what it says: here, where it is nobody else's trouble.
        """
        text = written(asked)
        loop = asyncio.get_running_loop()
        confirmed: asyncio.Future[None] = loop.create_future()
        if not self._gathered:
            # A turn later, because those who wake together ask in this turn of the loop or in the next.
            loop.call_soon(loop.call_soon, self._send)
        self._gathered.setdefault((asked.partition, asked.workspace), []).append((asked, text, confirmed))
        await confirmed

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, {}
        for (partition, _), everybody in gathered.items():
            waiting = [one for one in everybody if not one[2].done()]  # without who has given up already
            if not waiting:
                continue
            asked, texts, confirmed = zip(*waiting, strict=True)
            for part in parts_of(texts):
                out = wire.to_partition(partition, starts_event(asked[part], texts[part], self._clock()))
                task = asyncio.create_task(self._publish(out, confirmed[part]))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _publish(self, out: Outgoing, confirmed: Sequence[asyncio.Future[None]]) -> None:
        try:
            reached("orchestrator.starts.publish.before")
            await self._bus.publish(out)
            reached("orchestrator.starts.publish.after")
        except Exception as error:
            for one in confirmed:
                if not one.done():
                    # For each its own: one that is raised in many tasks collects the frames of all.
                    one.set_exception(copy(error))
        else:
            for one in confirmed:
                if not one.done():
                    one.set_result(None)
        finally:
            for one in confirmed:
                one.cancel()  # where this was cancelled; what is done stays so
