"""One arrival that can't be taken harms no other, and ends where somebody sees it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

import orchestrator.journal as journal
from bus.port import EVENTS, Delivery, Message, Outgoing
from contracts.envelope import STRUCTURED, Event
from contracts.errors import StoreUnavailable, Terminal
from orchestrator.beat import Beat, Share
from orchestrator.context import StepContext
from orchestrator.happenings import NotTaken, OwnerChanged, StepFailed, TimerFired
from orchestrator.inbox import Arrival
from orchestrator.instead import instead_of
from orchestrator.nodes import step, wait
from orchestrator.partition import Partition
from orchestrator.run import Run
from store import tables
from tests.orchestrator.flows import flow
from tests.orchestrator.running import LIMIT, House, until


async def nothing(ctx: StepContext) -> dict[str, Any]:
    return {"key": ctx.run_key}


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_an_event_that_is_nested_too_deep_holds_up_no_other(house: House, mode: str) -> None:
    """It is kept apart, and what came beside it arrives."""
    made = flow(wait("x.said.v1", by="id", name="w"))
    await house.orchestrate(made)
    run_id = (await house.start(made, "k1")).run_id
    data = b'{"id":"k9","x":' + b"[" * 300 + b"]" * 300 + b"}"
    if mode == "structured":
        about = b'{"specversion":"1.0","id":"d1","source":"/x","type":"x.said.v1","workspace":"acme","data":'
        poison = Message("d1", about + data + b"}", STRUCTURED)
    else:
        event = Event.create("x.said.v1", {}, id="d1", source="/x", at=1.0, workspace="acme")
        poison = Message("d1", data, "application/json", event.headers())
    await house.bus.publish(Outgoing(poison, "x.said.v1", EVENTS))
    await house.publish("x.said.v1", "k1")
    await house.until(run_id, "completed")

    async def kept_apart() -> bool:
        return [row["message_id"] for row in await house.rows(tables.quarantine)] == ["d1"]

    await until(kept_apart, lambda: "the poison in quarantine")


async def test_a_start_that_can_not_be_kept_is_quarantined_and_its_neighbours_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses one row of a batch: the others are committed, that message is kept apart."""
    written = journal.new_row

    def refused(run: Run) -> tuple[Any, ...]:
        if run.key == "bad":
            raise ValueError("the database does not take this")
        return written(run)

    monkeypatch.setattr(journal, "new_row", refused)
    made = flow(step(nothing))
    await house.orchestrate(made)
    client = await house.client(made)
    keys = ["good-1", "bad", "good-2", "good-3"]
    receipts = await asyncio.gather(
        *(
            client.start("acme", made.name, {"id": key}, start_id=key, wait=0.5 if key == "bad" else LIMIT)
            for key in keys
        )
    )
    outcomes = {key: receipt.outcome for key, receipt in zip(keys, receipts, strict=True)}
    assert outcomes.pop("bad") == "accepted"
    assert set(outcomes.values()) == {"created"}
    for key, receipt in zip(keys, receipts, strict=True):
        if key != "bad":
            assert (await house.until(receipt.run_id, "completed"))["key"] == key

    async def kept_apart() -> bool:
        return bool(await house.rows(tables.quarantine))

    await until(kept_apart, lambda: "the quarantine")
    (held,) = await house.rows(tables.quarantine)
    assert held["message_id"] == "bad"
    assert "does not take this" in held["detail"]


async def test_a_result_that_can_not_be_kept_fails_its_step(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is done and can't be recorded: the run does not stay at work for ever."""
    written = journal.fact_row

    def refused(run: Run, fact: Any) -> tuple[Any, ...]:
        if fact.type == "step_completed":
            raise ValueError("the database does not take this")
        return written(run, fact)

    monkeypatch.setattr(journal, "fact_row", refused)
    made = flow(step(nothing, deadline="10ms"))
    await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    run = await house.until(receipt.run_id, "failed", "compensated")
    assert "result_not_kept" in run["error"]


async def test_a_failure_that_can_not_be_kept_is_one_that_can(house: House) -> None:
    """Half a character in its message, which no JSON holds: the step has failed all the same."""

    async def breaks(ctx: StepContext) -> dict[str, Any]:
        raise Terminal("it says \ud800")

    made = flow(step(breaks))
    await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    run = await house.until(receipt.run_id, "failed")
    assert "failure_not_kept" in run["error"]


async def test_what_can_not_be_kept_at_all_stops_its_run_with_the_reason(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the result nor any failure: the run is listed as stuck, and not at work for ever."""
    written = journal.fact_row

    def refused(run: Run, fact: Any) -> tuple[Any, ...]:
        if fact.type in ("step_completed", "step_failed"):
            raise ValueError("the database does not take this")
        return written(run, fact)

    monkeypatch.setattr(journal, "fact_row", refused)
    made = flow(step(nothing))
    await house.orchestrate(made)
    receipt = await house.start(made, "k1")
    run = await house.until(receipt.run_id, "stuck")
    assert "the database does not take this" in run["waiting"]


def test_each_thing_that_is_not_taken_has_something_in_its_place() -> None:
    """Plainer each time, so that it ends; and in letters that every store takes."""
    odd = ValueError("\x00 and \ud800")
    reason = "ValueError: \\x00 and \\ud800"
    failed = StepFailed("a", 2, "odd \ud800", "odd", definite=True, dispatch=3)
    plain = instead_of(failed, odd)
    assert plain == StepFailed("a", 2, "failure_not_kept", reason, definite=True, dispatch=3)
    assert instead_of(plain, odd) == NotTaken("a", reason)
    assert instead_of(TimerFired("nap"), odd) == NotTaken("nap", reason)
    assert instead_of(OwnerChanged(), odd) == NotTaken(None, reason)
    assert instead_of(NotTaken(None, reason), odd) is None


class _Tried(Partition):
    """A partition whose turns end as ``turns`` says.

    ``given``: what each one is given to delete. ``taken``: the runs of what each one takes.
    """

    def __init__(self, shop: Any, *turns: Exception | None) -> None:
        super().__init__(0, 1, shop)
        self.turns = list(turns)
        self.given: list[list[int]] = []
        self.taken: list[list[str]] = []

    async def _turn(self, arrivals: Any, published: Any, share: Share) -> None:
        self.given.append(list(published))
        self.taken.append([arrival.run_id for arrival in arrivals])
        error = self.turns.pop(0) if self.turns else None
        if error is not None:
            raise error


def shop(**more: Any) -> Any:
    """A shop with nothing in it but what is named."""
    nobody = dict.fromkeys(("bus", "journal", "proofs", "catalog"))
    empty = {**nobody, "clock": lambda: 0.0, "prefetch": 10, "valid": lambda: True, "beat": Beat()}
    return SimpleNamespace(**{**empty, "executor": SimpleNamespace(works_on=None), **more})


async def test_what_was_published_is_put_back_once() -> None:
    """The batch fails, and then the store goes away: one deletion is asked for, not two."""
    tried = _Tried(shop(), ValueError("bad"), StoreUnavailable("away"))
    tried._inbox.published([7])
    tried._inbox.happened("r", OwnerChanged())
    work = asyncio.create_task(tried._work())
    async with asyncio.timeout(10):
        while len(tried.given) < 3:
            await asyncio.sleep(0.02)
    work.cancel()
    assert tried.given == [[7], [], [7]]


async def test_what_was_taken_by_itself_is_not_put_back() -> None:
    """The store goes away behind it: taken twice, a lost owner would count as two."""
    tried = _Tried(shop(), ValueError("bad"), None, StoreUnavailable("away"))
    tried._inbox.happened("a", OwnerChanged())
    tried._inbox.happened("b", OwnerChanged())
    work = asyncio.create_task(tried._work())
    async with asyncio.timeout(10):
        while len(tried.taken) < 4:
            await asyncio.sleep(0.02)
    work.cancel()
    assert tried.taken == [["a", "b"], ["a"], ["b"], ["b"]]


async def test_a_refusal_is_not_committed_while_the_lease_may_have_ended() -> None:
    """Like any other commit, it waits until the lease is certain."""
    valid, committed = [False, False, True], []

    class Kept:
        async def commit(self, commit: Any) -> None:
            committed.append(len(valid))

    acked: list[Any] = []

    class Acks:
        async def ack(self, deliveries: Any) -> None:
            acked.extend(deliveries)

    tried = _Tried(shop(journal=Kept(), valid=lambda: valid.pop(0)), ValueError("bad"))
    tried._subscription = Acks()  # type: ignore[assignment]
    message = Message("m1", b"{}")
    arrival = Arrival(delivery=Delivery(message, "partition.0", "", "0", 0, None))
    async with tried._shop.beat.join() as share:
        await tried._alone(arrival, share)
    assert committed == [0]
    assert len(acked) == 1
