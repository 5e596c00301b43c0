"""Steps at work: each attempt has exactly one outcome, whatever the function does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from contracts.errors import Retryable, Terminal
from orchestrator.context import StepContext
from orchestrator.decide import begin
from orchestrator.effects import Dispatch
from orchestrator.executor import Executor
from orchestrator.happenings import StepFailed, StepFinished
from orchestrator.nodes import step
from tests.orchestrator.flows import flow
from tests.orchestrator.pretending import asked, rules


class Fare(BaseModel):
    """A result as a model."""

    total: int


async def outcome_of(function: Any, *, timeout: float = 5.0, back: bool = False) -> StepFinished | StepFailed:
    """What the executor reports about one attempt."""
    made = flow(step(function, name="a", compensate=function))
    run = begin(made, asked(made), now=1.0, rules=rules()).run
    run.results["before"] = {"n": [1]}
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    executor = Executor(most=2)
    executor.dispatch(
        run, made, Dispatch("a", 2, 3, back, timeout), lambda run_id, outcome: told.set_result(outcome)
    )
    outcome: StepFinished | StepFailed = await asyncio.wait_for(told, 10)
    await executor.stop(1.0)
    assert executor.at_work == 0
    assert (outcome.node, outcome.attempt, outcome.dispatch, outcome.back) == ("a", 2, 3, back)
    assert run.input == {"id": "k1"}
    assert run.results == {"before": {"n": [1]}}
    return outcome


def raising(error: BaseException) -> Any:
    async def function(ctx: StepContext) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("result", "taken"),
    [(None, None), ({"a": (1, 2)}, {"a": [1, 2]}), (Fare(total=3), {"total": 3}), (float("nan"), None)],
)
async def test_a_result_is_what_a_restart_would_read(result: Any, taken: Any) -> None:
    """Trap 12: through JSON at once, so that the first reader sees what a later one does."""

    async def function(ctx: StepContext) -> Any:
        return result

    outcome = await outcome_of(function)
    assert isinstance(outcome, StepFinished)
    assert outcome.result == taken


@pytest.mark.parametrize(
    ("error", "code", "definite"),
    [
        (Terminal("no", code="sold_out"), "sold_out", True),
        (Retryable("later", retry_after=2.0), "retryable", False),
        (ValueError("what"), "exception", False),
        (TimeoutError("of its own"), "exception", False),
        (asyncio.CancelledError(), "exception", False),
        (SystemExit(3), "exception", False),
    ],
)
async def test_whatever_a_step_raises_is_its_outcome(error: BaseException, code: str, definite: bool) -> None:
    """Also a cancellation that nobody here asked for, and an attempt to exit."""
    outcome = await outcome_of(raising(error))
    assert isinstance(outcome, StepFailed)
    assert (outcome.code, outcome.definite) == (code, definite)


async def test_a_result_that_is_no_json_says_so() -> None:
    """With the type's name."""

    async def function(ctx: StepContext) -> Any:
        return {1, 2}

    outcome = await outcome_of(function)
    assert isinstance(outcome, StepFailed)
    assert "returns JSON or a pydantic model, not set" in outcome.message


async def test_an_attempt_that_takes_too_long_is_stopped() -> None:
    """By the timeout that it was given, which may be less than the step's."""

    async def function(ctx: StepContext) -> None:
        await asyncio.sleep(60)

    outcome = await outcome_of(function, timeout=0.05)
    assert isinstance(outcome, StepFailed)
    assert outcome.code == "timeout"


async def test_a_plain_function_runs_in_a_thread() -> None:
    """It can't stop the event loop."""
    threads: list[int] = []

    def function(ctx: StepContext) -> None:
        threads.append(threading.get_ident())

    await outcome_of(function)
    assert threads != [threading.get_ident()]


async def test_a_step_that_changes_what_it_is_given_changes_nothing_else() -> None:
    """Trap 12: the run in memory stays what the journal has."""

    async def function(ctx: StepContext) -> None:
        ctx.results["before"]["n"].append(2)
        ctx.results["more"] = 1  # type: ignore[index]
        ctx.input.clear()  # type: ignore[attr-defined]

    assert isinstance(await outcome_of(function), StepFinished)


async def test_step_and_compensation_have_keys_of_their_own() -> None:
    """The same for each attempt."""
    keys = []

    async def function(ctx: StepContext) -> None:
        keys.append(ctx.key)

    for back in (False, False, True, True):
        await outcome_of(function, back=back)
    assert keys[0] == keys[1] != keys[2] == keys[3]


async def test_what_is_abandoned_is_cancelled_and_reports_nothing() -> None:
    """Its outcome does not matter any more."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def function(ctx: StepContext) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    made = flow(step(function, name="a"))
    run = begin(made, asked(made), now=1.0, rules=rules()).run
    executor, told = Executor(), []
    executor.dispatch(run, made, Dispatch("a", 1, 1), lambda *outcome: told.append(outcome))
    await asyncio.wait_for(began.wait(), 5)
    executor.abandon(run.id, "a")
    await asyncio.wait_for(ended.wait(), 5)
    await executor.stop(0.0)
    assert told == []


async def test_a_step_that_ends_in_spite_of_its_limit_has_ended() -> None:
    """It was told to stop and gave its result instead: the work is done, and is not done again."""

    async def function(ctx: StepContext) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        async with asyncio.timeout(5):  # nothing of the cancellation is left behind
            await asyncio.sleep(0)
        return "done"

    outcome = await outcome_of(function, timeout=0.05)
    assert isinstance(outcome, StepFinished)
    assert outcome.result == "done"


async def test_what_is_abandoned_while_it_is_stopped_reports_nothing() -> None:
    """Its limit is no excuse when somebody else wants it gone as well."""
    stopping = asyncio.Event()

    async def function(ctx: StepContext) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopping.set()
            await asyncio.sleep(60)

    made = flow(step(function, name="a"))
    run = begin(made, asked(made), now=1.0, rules=rules()).run
    executor, told = Executor(), []
    order = Dispatch("a", 1, 1, timeout=0.05)
    executor.dispatch(run, made, order, lambda *outcome: told.append(outcome))
    await asyncio.wait_for(stopping.wait(), 5)
    executor.abandon(run.id, "a")
    await asyncio.sleep(0.05)
    await executor.stop(0.0)
    assert told == []
