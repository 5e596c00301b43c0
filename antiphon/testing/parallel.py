"""Plays seeds in several processes; the outcomes come in the order of the seeds, whoever was faster."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from itertools import takewhile
from multiprocessing.synchronize import Event

from antiphon.testing.chance import FAULTS, Fault
from antiphon.testing.finding import find_simulation
from antiphon.testing.seeds import play
from antiphon.testing.simulation import Simulation
from antiphon.testing.world import Outcome

__all__ = ["play_in_parallel"]

_SLICE = 10  # seeds that a process takes at once: some seconds at the most, so that a failure is soon known
_AHEAD = 3  # slices for each process that are given out at once


def play_in_parallel(
    where: str,
    seeds: Sequence[int],
    *,
    faults: Sequence[Fault] = FAULTS,
    runs: int = 3,
    processes: int = 1,
) -> Generator[Outcome, None, None]:
    """The outcome of each seed. ``where`` is what ``find_simulation`` takes: each process loads it anew.

    What is not begun yet is called off when the iterator is closed.
    """
    slices = deque(seeds[start : start + _SLICE] for start in range(0, len(seeds), _SLICE))
    processes = min(processes, len(slices))
    if processes <= 1:
        yield from play(find_simulation(where), seeds, faults=faults, runs=runs)
        return
    # Not forked: threads and connections of an app that is loaded here would come along, broken.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(stop,))
    given: deque[Future[list[Outcome]]] = deque()
    try:
        while slices or given:
            while slices and len(given) < _AHEAD * processes:
                given.append(pool.submit(_play_slice, where, slices.popleft(), tuple(faults), runs))
            yield from given.popleft().result()
    finally:
        stop.set()  # what a process has in hand can't be cancelled, but it looks at this before each seed
        pool.shutdown(wait=True, cancel_futures=True)


_stop: list[Event] = []  # of this process


def _begin(stop: Event) -> None:
    _stop.append(stop)


def _play_slice(where: str, seeds: Sequence[int], faults: Sequence[Fault], runs: int) -> list[Outcome]:
    wanted = takewhile(lambda _: not _stop[0].is_set(), seeds)
    return list(play(_loaded(where), wanted, faults=faults, runs=runs))


@cache
def _loaded(where: str) -> Simulation:
    return find_simulation(where)
