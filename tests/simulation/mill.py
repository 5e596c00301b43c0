"""A mill: every kind of node and of reactor, functions that fail in every way, and books that must agree."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from antiphon import (
    App,
    Command,
    CommandContext,
    Event,
    Flow,
    ReactionContext,
    Retry,
    Retryable,
    Service,
    StepContext,
    Terminal,
    call,
    emit,
    parallel,
    reacts_to,
    sleep,
    step,
    wait,
    when,
)
from antiphon.testing import Simulation, Stage

__all__ = ["app", "simulation"]

_stage: list[Stage] = []
FEW = Retry(attempts=4, first=0.3, most=2.0)
OFTEN = Retry(attempts=20, first=0.2, most=2.0)
UNTIL_DONE = Retry.until_done()
STOCK = Service("stock")


class Books:
    """What was done in the world, and undone, under which key; a repeat changes nothing."""

    def __init__(self) -> None:
        self.done: Counter[tuple[str, str]] = Counter()
        self.undone: Counter[tuple[str, str]] = Counter()
        self._keys: set[str] = set()

    def write(self, page: Counter[tuple[str, str]], what: str, id: str, key: str) -> None:
        if f"{what} {key}" not in self._keys:
            self._keys.add(f"{what} {key}")
            page[what, id] += 1


def books() -> Books:
    found: Books = _stage[0].memory["books"]
    return found


async def trouble(*, definite: bool) -> None:
    """Take a while; now and then it does not work out."""
    chance = _stage[0].chance
    await asyncio.sleep(chance.choice([0.0, 0.01, 0.3, 1.5]))
    luck = chance.random()
    if luck < 0.06:
        raise Retryable("come back later", retry_after=chance.choice([None, 0.5, 3.0]))
    if luck < 0.09:
        raise ValueError("a bug")
    if definite and luck < 0.12:
        raise Terminal("we don't do that", code="no_way")


async def afterwards() -> None:
    """It is done, and still something goes wrong: the outcome is unknown to whoever asked."""
    if _stage[0].chance.random() < 0.05:
        raise RuntimeError("the line broke behind it")


async def do(ctx: StepContext) -> dict[str, Any]:
    await trouble(definite=True)
    books().write(books().done, ctx.node, ctx.run_key, ctx.key)
    await afterwards()
    return {"did": ctx.node}


async def surely_do(ctx: StepContext) -> dict[str, Any]:
    await trouble(definite=False)
    books().write(books().done, ctx.node, ctx.run_key, ctx.key)
    await afterwards()
    return {"did": ctx.node}


async def undo(ctx: StepContext) -> None:
    await trouble(definite=False)
    books().write(books().undone, ctx.node, ctx.run_key, ctx.key)
    await afterwards()


@STOCK.handles("stock.hold.v1")
async def hold(data: dict[str, Any], ctx: CommandContext) -> dict[str, Any]:
    await trouble(definite=True)
    books().write(books().done, "hold", data["id"], ctx.key)
    await afterwards()
    return {"shelf": "A"}


@STOCK.handles("stock.free.v1")
async def free(data: dict[str, Any], ctx: CommandContext) -> None:
    await trouble(definite=False)
    books().write(books().undone, "hold", data["id"], ctx.key)
    await afterwards()


@reacts_to("job.built.v1", emits=["job.counted.v1"], idempotent=True, retry=OFTEN)
async def count(event: Event, ctx: ReactionContext) -> None:
    await trouble(definite=False)
    await ctx.emit("job.counted.v1", {"id": event.data["id"]})
    await afterwards()


@reacts_to("job.counted.v1", "job.dropped.v1", transactional=True, retry=OFTEN)
async def file(event: Event, ctx: ReactionContext) -> None:
    await trouble(definite=False)
    books().write(books().done, event.type, event.data["id"], ctx.key)


def is_big(document: dict[str, Any]) -> bool:
    return bool(document["input"]["big"])


PART = Flow(
    "part",
    version=1,
    key="id",
    input="part.asked.v1",
    steps=[
        step(do, name="cut", compensate=undo, retry=FEW),
        sleep("2s", name="dry"),
        step(do, name="polish", compensate=undo, retry=FEW),
    ],
)
JOB = Flow(
    "job",
    version=1,
    key="id",
    input="job.asked.v1",
    steps=[
        step(do, name="plan", compensate="nothing", retry=FEW),
        parallel(
            [step(do, name="reserve", compensate=undo, retry=FEW)],
            [
                step(
                    "hold",
                    at="stock",
                    command="stock.hold.v1",
                    data={"id": "$.input.id"},
                    compensate=Command("stock.free.v1", {"id": "$.input.id"}),
                    retry=FEW,
                    timeout="5s",
                )
            ],
            name="both",
        ),
        call("part", {"id": "$.input.id"}),
        parallel([wait(signal="approved")], [sleep("4s", name="grace")], mode="first", name="either"),
        when(is_big, [step(do, name="inspect", compensate=undo, retry=FEW)], name="check"),
        step(surely_do, name="build", pivot=True, retry=UNTIL_DONE),
        parallel(
            [emit("job.built.v1", {"id": "$.input.id"})],
            [step(surely_do, name="pack", retry=UNTIL_DONE)],
            name="finish",
        ),
        wait("job.paid.v1", by="id", timeout="1d", name="paid"),
    ],
    on_failure=[emit("job.dropped.v1", {"id": "$.input.id", "why": "$.error.code"})],
)
app = App(
    "mill",
    flows=[PART, JOB],
    reactors=[count, file],
    services=[STOCK],
    contracts=Path(__file__).parent / "contracts",
    external=["job.paid.v1"],
)


def prepare(stage: Stage) -> None:
    """Empty books."""
    _stage[:] = [stage]
    stage.memory["books"] = Books()


async def script(stage: Stage, runs: int) -> None:
    """Ask for jobs, and for much of what can be asked of them, at times that do not fit."""
    for number in range(runs):
        stage.go(_job(stage, f"job-{number}"))


async def _job(stage: Stage, id: str) -> None:
    chance = stage.chance
    await stage.sleep(chance.uniform(0.0, 3.0))
    if chance.random() < 0.2:
        await stage.publish("job.paid.v1", {"id": id})
    run_id = await stage.start("job", {"id": id, "big": chance.random() < 0.5})
    for _ in range(chance.randrange(4)):
        await stage.sleep(chance.uniform(0.0, 4.0))
        match chance.choice(["approve", "pay", "cancel", "pause"]):
            case "approve":
                await stage.signal(run_id, "approved", {})
            case "pay":
                await stage.publish("job.paid.v1", {"id": id})
            case "pause":
                await stage.pause(run_id)
                await stage.sleep(chance.uniform(0.0, 8.0))
                await stage.resume(run_id)
            case "cancel" if chance.random() < 0.5:
                await stage.cancel(run_id)
    await stage.publish("job.paid.v1", {"id": id})


def nothing_is_done_twice(stage: Stage) -> Iterable[str]:
    """One effect, or one undoing, for each job."""
    for page in (books().done, books().undone):
        for (what, id), times in page.items():
            if times > 1:
                yield f"{what} of {id} was done {times} times"


def books_agree(stage: Stage) -> Iterable[str]:
    """A job that was built is whole; of one that was dropped nothing is left but its part."""
    for run in stage.runs.values():
        own = ("cut", "polish") if run.flow == "part" else ("reserve", "hold", "inspect")
        for what in own:
            done, undone = books().done[what, run.key], books().undone[what, run.key]
            if run.status == "completed" and (undone or done != int(what != "inspect" or run.input["big"])):
                yield f"{run.flow} {run.key} is completed, and {what} was done {done}, undone {undone} times"
            if run.status != "completed" and done > undone:
                yield f"{run.flow} {run.key} is {run.status}, and {what} was not undone"
        if run.flow == "job":
            filed = "job.counted.v1" if run.status == "completed" else "job.dropped.v1"
            if books().done[filed, run.key] != 1:
                yield f"{run.key} is {run.status}, and was not filed as {filed}"


simulation = Simulation(
    app,
    script=script,
    prepare=prepare,
    invariants=[nothing_is_done_twice],
    at_the_end=[books_agree],
    patience=200.0,
)
