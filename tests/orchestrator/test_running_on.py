"""What comes between a run and its end: operators, children, bad messages, new versions, lost owners."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from sqlalchemy import update

from bus.envelope import publication
from contracts.envelope import Event
from contracts.errors import Retryable, RunEnded, Terminal
from contracts.registry import Registry
from contracts.retry import Retry
from orchestrator.client import Client
from orchestrator.context import StepContext
from orchestrator.nodes import call, parallel, step, wait
from orchestrator.wire import partition_of, partition_queue, request, start
from reactors.service import CommandContext, Service
from store import tables
from store.shelves import drop_runs
from tests.orchestrator.flows import flow, here
from tests.orchestrator.pretending import asked
from tests.orchestrator.running import PARTITIONS_MADE, WORKSPACE, House

SOON = Retry(attempts=3, first=0.02, factor=1, jitter=0)


async def test_a_stuck_run_goes_on_and_an_ended_one_is_made_again(house: House) -> None:
    """Retry after the cause is gone; a rerun is a new run, linked, and once for two who ask at once."""
    broken = [True]

    async def fragile(ctx: StepContext) -> str:
        if broken[0]:
            raise Terminal("broken", code="broken")
        return "mended"

    made = flow(here("a"), here("p", pivot=True), step(fragile))
    await house.orchestrate(made)
    client = await house.client(made)
    run_id = (await house.start(made, "k1")).run_id
    run = await house.until(run_id, "stuck")
    assert "broken" in run["waiting"]
    with pytest.raises(RunEnded, match="pivot"):
        await client.cancel(WORKSPACE, run_id, reason="", actor="ann")
    broken[0] = False
    for _ in range(2):  # the answer was lost, and the run has ended when the same request comes again
        same = await client.retry(WORKSPACE, run_id, reason="mended", actor="ann", retry_id="r-1")
        assert same == run_id
        await house.until(run_id, "completed")

    before = await house.history(run_id)
    again = await asyncio.gather(
        *(
            client.retry(WORKSPACE, run_id, from_node="fragile", reason="again", actor=who)
            for who in ("ann", "bob")
        )
    )
    assert again[0] == again[1] != run_id
    run = await house.until(again[0], "completed")
    assert run["linked_from"] == run_id
    assert [f["node"] for f in await house.history(again[0]) if f["type"] == "step_completed"] == ["fragile"]
    after = await house.history(run_id)
    assert after[: len(before)] == before
    assert [fact["type"] for fact in after[len(before) :]] == ["rerun_started"]
    assert len(await house.rows(tables.runs)) == 2


@pytest.mark.parametrize("when", ["before it fails", "while it is undone", "when it has ended"])
async def test_a_run_made_again_has_the_events_that_came_for_the_old_one(house: House, when: str) -> None:
    """They came once, for a run that did not get as far as to wait for them, and would not come again."""
    broken = [True]
    begun, go_on, undoing, undo = (asyncio.Event() for _ in range(4))

    async def prepared(ctx: StepContext) -> None:
        pass

    async def taken_back(ctx: StepContext) -> None:
        undoing.set()
        await undo.wait()

    async def fragile(ctx: StepContext) -> str:
        begun.set()
        await go_on.wait()
        if broken[0]:
            raise Terminal("broken", code="broken")
        return "mended"

    over = wait("trip.over.v1", by="id", timeout="1h", name="over")
    made = flow(step(prepared, compensate=taken_back), step(fragile), over)
    await house.orchestrate(made)
    client = await house.client(made)
    run_id = (await house.start(made, "k1")).run_id

    async def comes() -> None:
        await house.publish("trip.over.v1", "k1", id="over-1")
        await house.until_fact(run_id, "event_kept")

    await begun.wait()
    if when == "before it fails":
        await comes()
    go_on.set()
    await undoing.wait()
    if when == "while it is undone":
        await comes()
    undo.set()
    ended = await house.until(run_id, "compensated")
    if when == "when it has ended":
        await comes()
        assert (await house.run(run_id))["ended_at"] == ended["ended_at"]
    broken[0] = False
    again = await client.retry(WORKSPACE, run_id, reason="mended", actor="ann")
    await house.until(again, "completed")
    received = [fact for fact in await house.history(again) if fact["node"] == "over"]
    assert received[-1]["data"]["data"] == {"id": "k1"}


async def test_a_child_is_run_and_two_calls_of_one_child_do_not_hang(house: House) -> None:
    """The result comes back; the second call of the same key is told that it is taken."""
    child = flow(here("x"), name="child", result={"n": "$.input.n"})
    made = flow(
        call("child", {"id": "$.input.id", "n": 3}, name="one"),
        call("child", {"id": "$.input.id", "n": 3}, name="two"),
        result={"n": "$.one.n"},
    )
    single = flow(call("child", {"id": "$.input.id", "n": 4}, name="one"), name="g", result={"n": "$.one.n"})
    await house.orchestrate(made, single, child)
    run = await house.until((await house.start(single, "k1")).run_id, "completed")
    assert orjson.loads(run["result"]) == {"n": 4}
    run = await house.until((await house.start(made, "k2")).run_id, "failed")
    assert "already run by another" in run["error"]


async def test_whoever_starts_an_ended_run_again_hears_of_its_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same request, come again: its answer is the same, and nobody has to ask the journal for the end."""
    made = flow(here("x"))
    await house.orchestrate(made)
    client = await house.client(made)
    first = await client.start(WORKSPACE, made.name, {"id": "k1"}, start_id="asked", wait=10.0)
    await house.until(first.run_id, "completed")
    client._answers._ended.clear()  # as at another gateway, which did not hear the first end

    async def not_asked(run_id: str) -> None:
        raise AssertionError(f"{run_id} was looked up")

    monkeypatch.setattr(client, "_has_ended", not_asked)
    again = await client.start(WORKSPACE, made.name, {"id": "k1"}, start_id="asked", wait=10.0)
    assert again == first
    assert await client.ended(first.run_id, 10.0)


async def test_a_purged_run_is_not_run_again(house: House) -> None:
    """Neither for whoever starts it, nor for a parent that calls it; the parent fails, and does not hang."""
    child = flow(here("x"), name="child")
    made = flow(call("child", {"id": "$.input.id"}, name="one"))
    await house.orchestrate(made, child)
    id = (await house.start(child, "k1")).run_id
    ended = await house.until(id, "completed")
    left = [(id, WORKSPACE, "completed", ended["ended_at"], ended["created_at"], ended["seq"])]
    await house.database.write(lambda conn: drop_runs(conn, left, 1.0))
    assert (await house.start(child, "k1", n=2)).outcome == "purged"
    run = await house.until((await house.start(made, "k1")).run_id, "failed")
    assert "already run by another" in run["error"]
    assert await house.rows(tables.runs, id=id) == await house.history(id) == []


async def test_branches_run_at_the_same_time(house: House) -> None:
    """Each waits until the other has begun."""
    began: set[str] = set()
    both = asyncio.Event()

    async def meet(ctx: StepContext) -> None:
        began.add(ctx.node)
        if len(began) == 2:
            both.set()
        await both.wait()

    made = flow(parallel([step(meet, name="l")], [step(meet, name="r")]))
    await house.orchestrate(made)
    await house.until((await house.start(made, "k1")).run_id, "completed")


async def test_what_is_no_message_is_quarantined_and_the_partition_goes_on(house: House) -> None:
    """Bytes, wrong types, missing fields, a reply that says nothing."""
    made = flow(here("a"))
    await house.orchestrate(made)
    partition = partition_of(Client.run_id(WORKSPACE, "f", "k1"), PARTITIONS_MADE)
    event: dict[str, str | int] = {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": "1",
        "cloudEvents:source": "/x",
    }
    await house.put(partition, b"\xff\x00 nothing")
    await house.put(partition, b"{}", {**event, "cloudEvents:type": "antiphon.start.v1"})
    await house.put(partition, b"[]", {**event, "cloudEvents:type": "antiphon.cancel.v1"})
    await house.put(partition, b"{", {**event, "cloudEvents:type": "antiphon.event.v1"})
    await house.put(partition, b'{"run_id":"r"}', {**event, "cloudEvents:type": "antiphon.jump.v1"})
    reply = {**event, "cloudEvents:type": "antiphon.reply.v1", "cloudEvents:runid": "r"}
    await house.put(partition, b'{"outcome":"maybe"}', reply)
    await house.until((await house.start(made, "k1")).run_id, "completed")
    held = await house.rows(tables.quarantine)
    assert len(held) == 6
    assert {row["reason"] for row in held} == {"malformed"}
    assert {row["queue"] for row in held} == {partition_queue(partition).name}


async def test_a_message_on_another_partition_s_queue_goes_on_to_its_run_s_owner(house: House) -> None:
    """Who alone may change it; a start makes its run there as well."""
    made = flow(wait(signal="go"))
    await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    wrong = (partition_of(run_id, PARTITIONS_MADE) + 1) % PARTITIONS_MADE
    cancel = request(
        "cancel", run_id, wrong, {"reason": "", "actor": "x"}, id="1", at=1.0, workspace=WORKSPACE
    )
    right = partition_of("elsewhere", PARTITIONS_MADE)
    there = (right + 1) % PARTITIONS_MADE
    await house.bus.publish(cancel, start(asked(made, run_id="elsewhere", partition=there), 1.0))
    await house.until(run_id, "cancelled")
    assert (await house.until("elsewhere", "running"))["partition"] == right
    assert await house.rows(tables.quarantine) == []


async def test_an_event_off_contract_or_without_a_key_is_quarantined(house: House) -> None:
    """At the door of the calling half; the next event is not held up."""
    made = flow(wait("x.done.v1", by="id", name="w"))
    await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    await house.publish("x.done.v1", 7)  # type: ignore[arg-type]
    await house.publish("x.done.v1", "k1", workspace="")
    await house.publish("x.done.v1", "k1")
    await house.until(run_id, "completed")
    reasons = sorted(row["reason"] for row in await house.rows(tables.quarantine))
    assert reasons == ["malformed", "off-contract"]


async def test_an_event_of_a_newer_release_is_taken(house: House) -> None:
    """It may say more than this process's contract knows."""
    registry = Registry()
    told = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    for type in ("x.done.v1", "f.asked.v1"):
        registry.add(type, {**told, "additionalProperties": False})
    made = flow(wait("x.done.v1", by="id", name="w"), result={"tip": "$.w.tip"})
    await house.orchestrate(made, check=registry.validate, read=registry.validate_read)
    run_id = (await house.start(made, "k1")).run_id
    data = {"id": "k1", "tip": 2}
    event = Event.create("x.done.v1", data, id="e1", source="/test", at=1.0, workspace=WORKSPACE)
    await house.bus.publish(publication(event))
    assert (await house.until(run_id, "completed"))["result"] == '{"tip":2}'


async def test_a_timer_that_was_moved_outlives_its_first_time(house: House) -> None:
    """A stale firing must not take the row of the later one with it, or nothing would ever wake the run."""
    made = flow(step("hold", at="bank", command="bank.hold.v1", data={"id": "$.input.id"}, timeout="200ms"))
    bank = Service("bank")

    @bank.handles("bank.hold.v1")
    async def hold(data: dict[str, Any], ctx: CommandContext) -> None:
        if ctx.attempt == 1:
            raise Retryable("later", retry_after=3600)

    await house.bus.declare(bank.queue())
    await house.serve(bank)
    await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    await house.until_fact(run_id, "step_failed", "hold")
    await asyncio.sleep(0.6)  # past the first attempt's timeout
    rows = await house.rows(tables.timers, run_id=run_id)
    assert [row["name"] for row in rows] == ["hold"]
    assert orjson.loads((await house.run(run_id))["state"])["active"]["hold"]["retry_at"] == rows[0]["due_at"]


async def test_a_run_ends_on_the_version_that_it_was_started_with(house: House) -> None:
    """A new version is for new runs; one that is not deployed here yet waits and is not lost."""
    old = flow(here("a"), wait(signal="go"), here("b"))
    new = flow(here("a2"), here("b2"), version=2)
    await house.orchestrate(old)
    run_id = (await house.start(old, "k1")).run_id
    await house.until_fact(run_id, "wait_started", "go")
    await house.stop_first()
    await house.orchestrate(old, new)
    client = await house.client(old, new)
    receipt = await client.start(WORKSPACE, "f", {"id": "k2"}, start_id="s-new", wait=20)
    await client.signal(WORKSPACE, run_id, "go", None, signal_id="1", actor="ann")
    await house.until(run_id, "completed")
    await house.until(receipt.run_id, "completed")
    done = {
        each: [f["node"] for f in await house.history(each) if f["type"] == "step_completed"]
        for each in (run_id, receipt.run_id)
    }
    assert done == {run_id: ["a", "b"], receipt.run_id: ["a2", "b2"]}


async def test_a_run_whose_work_was_lost_with_its_owner_starts_that_again(house: House) -> None:
    """As if the process had died: another owner takes the row, and the step has another dispatch."""
    began: list[int] = []
    gate = asyncio.Event()

    async def slow(ctx: StepContext) -> None:
        began.append(ctx.attempt)
        if len(began) == 1:
            await gate.wait()

    made = flow(step(slow))
    first = await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    await house.until_fact(run_id, "step_scheduled", "slow")
    number = (await house.run(run_id))["partition"]
    columns = tables.partitions.c
    await house.database.write(
        lambda c: c.execute(update(tables.partitions).where(columns.id == number).values(lease_until=0.0))
    )
    await house.until(run_id, "completed")
    assert began == [1, 1]
    assert first.owned[number] > 1


async def test_a_run_that_a_newer_release_left_unreadable_holds_up_no_other(house: House) -> None:
    """After a rollback, at work and all: its partition is taken over, and others begin there."""
    go = asyncio.Event()

    async def slow(ctx: StepContext) -> None:
        await go.wait()

    made = flow(step(slow))
    leaver = await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    await house.until_fact(run_id, "step_scheduled")
    await leaver.stop(grace=0.0)
    row = await house.run(run_id)
    newer = orjson.dumps(orjson.loads(row["state"]) | {"mood": "new"}).decode()
    change = update(tables.runs).where(tables.runs.c.id == run_id).values(state=newer)
    await house.database.write(lambda connection: connection.execute(change) and None)
    go.set()
    await house.orchestrate(made)
    others = (Client.run_id(WORKSPACE, "f", f"n{number}") for number in range(1000))
    number = next(n for n, id in enumerate(others) if partition_of(id, PARTITIONS_MADE) == row["partition"])
    await house.until((await house.start(made, f"n{number}")).run_id, "completed")
    assert (await house.run(run_id))["state"] == newer
