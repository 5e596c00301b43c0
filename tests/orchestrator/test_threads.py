"""Steps that are plain functions: their time begins in a thread, and one that hangs holds up nobody."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator.context import StepContext
from orchestrator.decide import begin
from orchestrator.effects import Dispatch
from orchestrator.executor import Executor
from orchestrator.happenings import StepFailed, StepFinished
from orchestrator.nodes import step
from orchestrator.threads import MOST
from tests.orchestrator.flows import flow
from tests.orchestrator.pretending import asked, rules

Outcome = StepFinished | StepFailed


class Steps:
    """An executor, and functions that are given to it."""

    def __init__(self, threads: int) -> None:
        self.executor = Executor(threads=threads)
        self.go = threading.Event()  # what ``waits`` waits for
        self.began: list[str] = []

    def waits(self, ctx: StepContext) -> None:
        self.began.append(ctx.run_id)
        self.go.wait(60)

    def dispatch(
        self, name: str, function: Callable[[StepContext], Any], *, timeout: float = 60.0
    ) -> asyncio.Future[Outcome]:
        """Start an attempt of a run of its own; its outcome."""
        made = flow(step(function, name="a"))
        run = begin(made, asked(made, run_id=name), now=1.0, rules=rules()).run
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        order = Dispatch("a", 1, 1, timeout=timeout)
        self.executor.dispatch(run, made, order, lambda _, outcome: told.set_result(outcome))
        return told

    async def until_began(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.began) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def one_thread() -> AsyncIterator[Steps]:
    """Room for one function."""
    steps = Steps(1)
    yield steps
    steps.go.set()
    await steps.executor.stop(5.0)


def quick(ctx: StepContext) -> str:
    return "done"


async def test_the_wait_for_a_thread_is_no_part_of_the_timeout() -> None:
    """As many as there are threads are at work at once; the next one has its own time, whole."""
    steps = Steps(MOST)
    slow = [steps.dispatch(f"r{number}", steps.waits) for number in range(MOST)]
    await steps.until_began(MOST)
    next_one = steps.dispatch("next", quick, timeout=0.5)
    await asyncio.wait([next_one], timeout=0.8)
    assert not next_one.done()
    steps.go.set()
    outcomes = await asyncio.wait_for(asyncio.gather(*slow, next_one), 30)
    assert {type(outcome) for outcome in outcomes} == {StepFinished}
    await steps.executor.stop(1.0)


async def test_what_waits_for_a_thread_holds_up_no_coroutine() -> None:
    """It takes no slot of those."""
    steps = Steps(1)
    steps.executor = Executor(most=2, threads=1)

    async def here(ctx: StepContext) -> None:
        pass

    slow = [steps.dispatch(f"r{number}", steps.waits) for number in range(5)]
    outcome = await asyncio.wait_for(steps.dispatch("here", here), 30)
    assert isinstance(outcome, StepFinished)
    steps.go.set()
    await asyncio.wait_for(asyncio.gather(*slow), 30)
    await steps.executor.stop(1.0)


async def test_a_function_that_outlives_its_timeout_gives_its_place_back(one_thread: Steps) -> None:
    """Others go on, and the log says whose it is."""
    with capture_logs() as said:
        outcome = await asyncio.wait_for(one_thread.dispatch("hangs", one_thread.waits, timeout=0.5), 30)
        assert isinstance(outcome, StepFailed)
        assert outcome.code == "timeout"
        assert isinstance(await asyncio.wait_for(one_thread.dispatch("other", quick), 30), StepFinished)
    (left,) = [entry for entry in said if entry["event"] == "step_left_in_its_thread"]
    assert (left["log_level"], left["run"], left["node"], left["replaced"]) == ("warning", "hangs", "a", True)


async def test_threads_that_hang_are_replaced_so_many_times(one_thread: Steps) -> None:
    """Then the next function waits until one of them has ended."""
    for name in ("first", "second"):
        outcome = await asyncio.wait_for(one_thread.dispatch(name, one_thread.waits, timeout=0.5), 30)
        assert isinstance(outcome, StepFailed)
    assert one_thread.began == ["first", "second"]
    waits = one_thread.dispatch("third", quick)
    await asyncio.wait([waits], timeout=0.3)
    assert not waits.done()
    one_thread.go.set()
    assert isinstance(await asyncio.wait_for(waits, 30), StepFinished)


async def test_what_is_abandoned_before_its_turn_never_begins(one_thread: Steps) -> None:
    """Its place is somebody else's then."""
    slow = one_thread.dispatch("slow", one_thread.waits)
    await one_thread.until_began(1)
    gone = one_thread.dispatch("gone", one_thread.waits)
    await asyncio.sleep(0)
    one_thread.executor.abandon("gone", "a")
    one_thread.go.set()
    await asyncio.wait_for(slow, 30)
    assert isinstance(await asyncio.wait_for(one_thread.dispatch("next", quick), 30), StepFinished)
    assert one_thread.began == ["slow"]
    assert not gone.done()


async def test_a_coroutine_that_a_function_returns_needs_no_thread(one_thread: Steps) -> None:
    """It runs on the event loop, and the thread is free for others."""
    may_end = asyncio.Event()

    async def later() -> str:
        await may_end.wait()
        return "done"

    slow = one_thread.dispatch("slow", lambda ctx: later())
    assert isinstance(await asyncio.wait_for(one_thread.dispatch("other", quick), 30), StepFinished)
    may_end.set()
    outcome = await asyncio.wait_for(slow, 30)
    assert isinstance(outcome, StepFinished)
    assert outcome.result == "done"


async def test_threads_are_used_again_and_end_with_their_executor() -> None:
    """One function after another needs one thread."""
    before = set(threading.enumerate())
    steps = Steps(8)
    seen: set[threading.Thread] = set()

    def where(ctx: StepContext) -> None:
        seen.add(threading.current_thread())

    for number in range(20):
        await asyncio.wait_for(steps.dispatch(f"r{number}", where), 30)
    assert seen <= set(threading.enumerate()) - before
    assert len(seen) == 1
    await steps.executor.stop(1.0)
    async with asyncio.timeout(30):
        while set(threading.enumerate()) & seen:
            await asyncio.sleep(0.01)


HANGS = """
import asyncio, threading
from tests.orchestrator.test_threads import Steps

async def main():
    steps = Steps(2)
    outcome = await steps.dispatch("hangs", lambda ctx: threading.Event().wait(), timeout=0.5)
    await steps.executor.stop(0.0)
    print(outcome.code)

asyncio.run(main())
"""


def test_a_process_ends_whatever_hangs_in_it() -> None:
    """Nobody waits for its thread, neither the event loop nor the interpreter."""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", HANGS], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "timeout"), ended.stderr
