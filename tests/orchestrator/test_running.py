"""Whole runs, over the embedded adapters and over RabbitMQ, PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from contracts.errors import ContractViolation, Retryable, RunEnded, RunNotFound, Terminal, UnknownFlow
from contracts.retry import Retry
from orchestrator.client import Client
from orchestrator.context import StepContext
from orchestrator.nodes import Command, emit, sleep, step, wait
from reactors.service import CommandContext, Service
from store import tables
from tests.orchestrator.flows import flow, here, undoable
from tests.orchestrator.running import WORKSPACE, House, until

SOON = Retry(attempts=3, first=0.02, factor=1, jitter=0)


async def test_a_run_goes_from_start_to_end(house: House) -> None:
    """Steps in order, the event published once, the result made, nothing left over."""
    seen: list[Any] = []

    async def look(ctx: StepContext) -> dict[str, Any]:
        seen.append((dict(ctx.results), ctx.run_key, ctx.key, ctx.attempt, ctx.workspace))
        return {"n": 1}

    def plain(ctx: StepContext) -> int:
        return ctx.results["look"]["n"] + 1

    made = flow(
        step(look),
        step(plain),
        emit("x.said.v1", {"id": "$.input.id"}),
        sleep("20ms", name="nap"),
        result={"n": "$.plain"},
    )
    await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    client = await house.client(made)
    assert receipt.outcome == "created"
    assert await client.ended(receipt.run_id, 20)
    run = await house.run(receipt.run_id)
    assert (run["status"], run["result"], run["waiting"], run["busy"]) == ("completed", '{"n":2}', None, 0)
    assert seen == [({}, "k1", seen[0][2], 1, "acme")]
    types = await house.types(receipt.run_id)
    assert types[0] == "run_started"
    assert types[-1] == "run_completed"
    assert len(await house.rows(tables.events)) == 1

    async def clean() -> bool:
        left = [await house.rows(table) for table in (tables.outbox, tables.timers)]
        return left == [[], []]

    await until(clean, lambda: "an empty outbox and no timers")


async def test_starting_is_idempotent(house: House) -> None:
    """The same start again is the same; the key again is there already; with another input a conflict."""
    made = flow(here("a"))
    await house.orchestrate(made)
    client = await house.client(made)

    async def start(start_id: str, **input: Any) -> str:
        receipt = await client.start(WORKSPACE, "f", {"id": "k1", **input}, start_id=start_id, wait=20)
        assert receipt.run_id == Client.run_id(WORKSPACE, "f", "k1")
        return receipt.outcome

    assert await start("s1") == "created"
    assert await start("s1") == "created"
    assert await start("s2") == "exists"
    assert await start("s3", n=1) == "conflict"
    assert await start("s1", n=1) == "conflict"
    other = await client.start("other", "f", {"id": "k1", "n": 2}, start_id="s1", wait=20)
    assert other.outcome == "created"
    assert await asyncio.gather(*(start(f"many{n}") for n in range(20))) == ["exists"] * 20


async def test_a_start_that_can_t_be_is_refused_before_it_is_sent(house: House) -> None:
    """Unknown flow, off contract, no usable key; and nobody of another workspace sees a run."""
    made = flow(here("a"))
    client = await house.client(made)
    with pytest.raises(UnknownFlow, match="there are: f"):
        await client.start(WORKSPACE, "g", {}, start_id="s", wait=0)
    for input in ({}, {"id": 7}, {"id": ""}, {"id": "x" * 600}, {"id": "a\x00"}):
        with pytest.raises(ContractViolation):
            await client.start(WORKSPACE, "f", input, start_id="s", wait=0)
    with pytest.raises(RunNotFound):
        await client.cancel("other", Client.run_id(WORKSPACE, "f", "k"), reason="", actor="ann")


async def test_an_event_is_taken_whenever_it_comes_and_once(house: House) -> None:
    """Before the run, before the wait, after it began; a duplicate counts once."""
    gate = asyncio.Event()

    async def held(ctx: StepContext) -> None:
        await gate.wait()

    made = flow(step(held), wait("x.done.v1", by="id", name="w"), wait(signal="go"))
    await house.orchestrate(made)
    await house.publish("x.done.v1", "before", id="ev-before")
    await house.publish("x.done.v1", "before", id="ev-before")

    async def kept() -> bool:
        return len(await house.rows(tables.early_events)) == 1

    await until(kept, lambda: "the early event")
    runs = {key: (await house.start(made, key)).run_id for key in ("before", "early", "late")}
    await house.publish("x.done.v1", "before", id="ev-before")
    await house.publish("x.done.v1", "early")
    await house.until_fact(runs["early"], "event_kept")
    gate.set()
    await house.until_fact(runs["late"], "wait_started", "w")
    await house.publish("x.done.v1", "late", id="ev-late", workspace="other")
    await house.publish("x.done.v1", "late", id="ev-late")
    await house.publish("x.done.v1", "late", id="ev-late")
    client = await house.client(made)
    for key, run_id in runs.items():
        await house.until_fact(run_id, "event_received", "w")
        await house.until_fact(run_id, "wait_started", "go")
        await client.signal(WORKSPACE, run_id, "go", {"n": 1}, signal_id="g", actor="ann")
        await client.ended(run_id, 20)
        types = await house.types(run_id)
        assert types.count("event_received") == 1, key
        assert types.count("event_kept") == (0 if key == "late" else 1), key
        assert types[-1] == "run_completed"
    assert await house.rows(tables.early_events, run_id=runs["before"]) == []
    with pytest.raises(RunEnded):
        await client.signal(WORKSPACE, runs["late"], "go", {}, signal_id="h", actor="ann")
    # Whoever did not hear that it was taken asks again, and hears it now.
    await client.signal(WORKSPACE, runs["late"], "go", {"n": 1}, signal_id="g", actor="ann")


async def test_steps_are_retried_and_waits_time_out(house: House) -> None:
    """Backoff by durable timers; what does not come is an error with a code."""
    tries: list[int] = []

    async def shaky(ctx: StepContext) -> None:
        tries.append(ctx.attempt)
        if ctx.attempt < 3:
            raise Retryable("not yet", retry_after=0.03)

    made = flow(step(shaky, retry=SOON), wait("x.done.v1", by="id", timeout="50ms", name="w"))
    await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    run = await house.until(run_id, "failed")
    assert tries == [1, 2, 3]
    assert orjson.loads(run["error"])["code"] == "wait_timed_out"


async def test_a_run_is_undone_through_a_service(house: House) -> None:
    """A command and its compensation over the bus; unknown outcomes are undone, a declined one is not."""
    bank = Service("bank")
    done: list[str] = []

    @bank.handles("bank.hold.v1", timeout=0.2)
    async def hold(data: dict[str, Any], ctx: CommandContext) -> dict[str, Any]:
        done.append(f"hold {data['id']}")
        if data["id"] == "hang":
            await asyncio.sleep(20)
        if data["id"] == "declined":
            raise Terminal("no money", code="declined")
        return {"hold": data["id"]}

    @bank.handles("bank.unhold.v1")
    async def unhold(data: dict[str, Any], ctx: CommandContext) -> None:
        done.append(f"unhold {data['id']}")

    async def sold_out(ctx: StepContext) -> None:
        raise Terminal("none left", code="sold_out")

    made = flow(
        undoable("a"),
        step(
            "hold",
            at="bank",
            command="bank.hold.v1",
            data={"id": "$.input.id"},
            compensate=Command("bank.unhold.v1", {"id": "$.input.id"}),
            retry=Retry(attempts=2, first=0.02),
            timeout="10s",
        ),
        step(sold_out),
        on_failure=[emit("f.failed.v1", {"id": "$.input.id", "why": "$.error.code"})],
    )
    await house.bus.declare(bank.queue())
    await house.serve(bank)
    await house.orchestrate(made)
    ids = {key: (await house.start(made, key)).run_id for key in ("fine", "declined", "hang")}
    for key, code in (("fine", "sold_out"), ("declined", "declined"), ("hang", "timeout")):
        run = await house.until(ids[key], "compensated")
        assert orjson.loads(run["error"])["code"] == code
        undone = [f["node"] for f in await house.history(ids[key]) if f["type"] == "compensation_completed"]
        assert undone == (["a"] if key == "declined" else ["hold", "a"])
    assert sorted(done) == sorted(
        ["hold fine", "unhold fine", "hold declined", "hold hang", "hold hang", "unhold hang"]
    )
    failed = [row["type"] for row in await house.rows(tables.events)]
    assert failed == ["f.failed.v1"] * 3


async def test_a_run_is_paused_resumed_cancelled(house: House) -> None:
    """A pause lets what is at work end; a cancel in the middle of a step undoes what was done, and it."""
    gates = {name: asyncio.Event() for name in ("p", "c")}
    began: list[str] = []

    async def slow(ctx: StepContext) -> None:
        began.append(ctx.run_key)
        await gates[ctx.run_key].wait()

    asked_twice = asyncio.Event()

    async def undo(ctx: StepContext) -> None:
        await asked_twice.wait()  # else the run may have ended before it is cancelled a second time

    made = flow(undoable("a"), step(slow, compensate=undo), here("b"))
    await house.orchestrate(made)
    client = await house.client(made)
    ids = {key: (await house.start(made, key)).run_id for key in gates}
    for key in gates:
        await house.until_fact(ids[key], "step_scheduled", "slow")
    await client.pause(WORKSPACE, ids["p"], reason="stop", actor="ann")
    await house.until(ids["p"], "paused")
    gates["p"].set()
    await house.until_fact(ids["p"], "node_held", "b")
    await client.resume(WORKSPACE, ids["p"], reason="go", actor="ann")
    await house.until(ids["p"], "completed")

    await client.cancel(WORKSPACE, ids["c"], reason="changed my mind", actor="ann")
    await client.cancel(WORKSPACE, ids["c"], reason="really", actor="ann")
    asked_twice.set()
    run = await house.until(ids["c"], "cancelled")
    assert orjson.loads(run["error"])["message"] == "changed my mind"
    undone = [f["node"] for f in await house.history(ids["c"]) if f["type"] == "compensation_completed"]
    assert undone == ["slow", "a"]
