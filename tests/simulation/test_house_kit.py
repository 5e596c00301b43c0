"""A house for tests: hours in moments, failures and deaths on demand, and all of it to be seen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from antiphon import Terminal
from antiphon.testing import Simulation, Stage, TestHouse, in_virtual_time
from contracts.errors import ConfigurationError, ContractViolation, RunEnded, UnknownFlow
from examples.ride.simulated import simulation as ride
from examples.ride.trips import SAMPLE, read_trips
from tests.simulation.shop import app, charges, simulation

ORDER = {"order": "order-1", "cents": 1250}
PAID = {"order": "order-1"}
TRIP = next(read_trips(SAMPLE))


@in_virtual_time
async def test_a_wait_of_days_and_a_sleep_of_hours_take_their_virtual_time_exactly() -> None:
    """Paid after a day; packed for two hours; then it is shipped, and the customer is told."""
    async with TestHouse(simulation) as house:
        began = house.now
        run = await house.start("order", ORDER)
        await house.settle()
        assert run.waiting == "payment: waits for order.paid.v1"
        await house.advance("1d")
        assert house.now - began == pytest.approx(86400, abs=2)
        await house.publish("order.paid.v1", PAID)
        await house.advance("1h59m")
        assert run.status == "running"
        assert run.facts("timer_started") == ["pack"]
        assert run.facts("timer_fired") == []
        await house.advance("1m")
        assert run.status == "completed"
        assert run.results["ship"] == {"parcel": "parcel of order-1"}
        assert house.published("order.shipped.v1") == [{"order": "order-1", "parcel": "parcel of order-1"}]
        assert [(each.status, each.attempts) for each in house.reactions("tell")] == [("done", 1)]


@in_virtual_time
async def test_ended_leaps_over_a_timeout_of_three_days() -> None:
    """Nobody pays: the order is undone, and says why."""
    async with TestHouse(simulation) as house:
        run = await (await house.start("order", ORDER)).ended()
        assert run.status == "compensated"
        assert run.error is not None
        assert run.error["code"] == "wait_timed_out"
        assert house.calls("undo:reserve") == 1
        assert [fact.type for fact in run.history][-1] == "run_compensated"


@in_virtual_time
async def test_ended_says_why_when_it_does_not_come_in_time_or_never_can() -> None:
    """The reason of the run is in the assertion."""
    async with TestHouse(simulation) as house:
        run = await house.start("order", ORDER)
        with pytest.raises(AssertionError, match=r"waits for order\.paid\.v1"):
            await run.ended(within="1h")
        house.fail("undo:reserve", times=99, error=Terminal("the shelf is locked"))
        with pytest.raises(AssertionError, match="it is stuck"):
            await run.ended()


@in_virtual_time
async def test_a_step_fails_as_often_as_it_is_told_and_is_tried_again() -> None:
    """The failures are in the history; the function was reached once."""
    async with TestHouse(simulation) as house:
        house.fail("charge", times=2)
        run = await house.start("order", ORDER)
        await house.publish("order.paid.v1", PAID)
        await run.ended()
        assert run.facts("step_failed") == ["charge", "charge"]
        assert house.calls("charge") == 3
        assert len(charges) == 1


@in_virtual_time
async def test_a_definite_no_undoes_the_run() -> None:
    """Terminal is not tried again."""
    async with TestHouse(simulation) as house:
        house.fail("charge", error=Terminal("no money", code="declined"))
        run = await house.start("order", ORDER)
        await house.publish("order.paid.v1", PAID)
        await run.ended()
        assert (run.status, (run.error or {})["code"]) == ("compensated", "declined")


@in_virtual_time
async def test_a_death_after_a_step_does_it_again_under_the_same_key() -> None:
    """What was done, and nobody knew of it, is done again: the till sees one key twice, and charges once."""
    async with TestHouse(simulation) as house:
        house.crash_after("charge")
        run = await house.start("order", ORDER)
        await house.publish("order.paid.v1", PAID)
        await run.ended()
        assert run.status == "completed"
        assert house.calls("charge") == 2
        assert len(charges) == 1
        assert "crashed after step:charge" in house.story


@in_virtual_time
async def test_processes_that_are_killed_lose_nothing() -> None:
    """An orchestrator while a run sleeps, the reactors before an event comes."""
    async with TestHouse(simulation) as house:
        run = await house.start("order", ORDER)
        await house.publish("order.paid.v1", PAID)
        await house.settle()
        house.crash("orchestrator")
        house.crash("reactors")
        await run.ended()
        await house.settle()
        assert run.status == "completed"
        assert [each.status for each in house.reactions("tell")] == ["done"]
        with pytest.raises(ConfigurationError, match="no process 'gateway'"):
            house.crash("gateway")


@in_virtual_time
async def test_a_dead_letter_is_seen_and_redriven() -> None:
    """After its last attempt it is dead; a redrive brings it to its end."""
    async with TestHouse(simulation) as house:
        house.fail("tell", times=5)
        run = await house.start("order", ORDER)
        await house.publish("order.paid.v1", PAID)
        await run.ended()
        await house.advance("10m")
        (dead,) = house.reactions("tell")
        assert (dead.status, dead.attempts) == ("dead", 5)
        assert "lets it fail" in str(dead.error)
        assert await house.redrive("tell") == 1
        await house.settle()
        assert [each.status for each in house.reactions("tell")] == ["done"]
        assert await house.redrive("tell") == 0


@in_virtual_time
async def test_a_stand_in_is_called_with_what_the_step_is_called_with() -> None:
    """From the beginning, or put in later; plain or async; None is the app's own again."""
    seen: list[Any] = []

    def pick(ctx: Any) -> dict[str, Any]:
        seen.append(ctx.input["order"])
        return {"shelf": "a"}

    async with TestHouse(simulation, stand_ins={"reserve": pick}) as house:
        run = await house.start("order", ORDER)
        await house.settle()
        assert (seen, run.results["reserve"]) == (["order-1"], {"shelf": "a"})
        house.replace("reserve", None)
        other = await house.start("order", {**ORDER, "order": "order-2"})
        await house.settle()
        assert other.results["reserve"] == {"shelf": "shelf of order-2"}
        with pytest.raises(ConfigurationError, match="no step, reactor or command 'nothing'"):
            house.replace("nothing", pick)


@in_virtual_time
async def test_starts_with_one_key_are_one_run_and_another_input_is_a_conflict() -> None:
    """The outcome says which; what is off the contract is refused."""
    async with TestHouse(simulation) as house:
        first = await house.start("order", ORDER)
        again = await house.start("order", ORDER)
        other = await house.start("order", {**ORDER, "cents": 1})
        assert [each.outcome for each in (first, again, other)] == ["created", "exists", "conflict"]
        assert [each.id for each in house.runs] == [first.id]
        assert (first.key, repr(first)) == ("order-1", "<run order-1 of order: running>")
        with pytest.raises(ContractViolation):
            await house.start("order", {"order": "order-2"})
        with pytest.raises(ContractViolation):
            await house.publish("order.paid.v1", {})
        with pytest.raises(UnknownFlow):
            await house.start("orders", ORDER)


@in_virtual_time
async def test_a_run_is_paused_resumed_cancelled_and_made_again() -> None:
    """What an operator can ask of it."""
    async with TestHouse(simulation) as house:
        run = await house.start("order", ORDER)
        await house.settle()
        await run.pause()
        await house.publish("order.paid.v1", PAID)
        await house.advance("1d")
        assert house.calls("charge") == 0
        await run.resume()
        await house.settle()
        assert house.calls("charge") == 1
        await run.cancel()
        await run.ended()
        assert run.status == "cancelled"
        with pytest.raises(RunEnded):
            await run.signal("anything")
        again = await run.retry()
        await house.settle()
        assert again.id != run.id
        assert again.status == "running"


@in_virtual_time
async def test_two_houses_on_one_loop_know_nothing_of_each_other() -> None:
    """Each has a store of its own, begins at the same moment, and the first one is over."""
    async with TestHouse(simulation) as house:
        began = house.now
        await house.start("order", ORDER)
        await house.advance("1d")
    async with TestHouse(simulation) as house:
        assert house.now == began
        assert house.runs == []
        assert (await house.start("order", ORDER)).outcome == "created"


def test_the_same_test_tells_the_same_story() -> None:
    """Nothing in it is left to chance."""
    stories: list[str] = []

    @in_virtual_time
    async def once() -> None:
        async with TestHouse(simulation) as house:
            house.crash_after("charge")
            run = await house.start("order", ORDER)
            await house.publish("order.paid.v1", PAID)
            await run.ended()
            stories.append(house.story)

    once()
    once()
    assert stories[0] == stories[1]


def test_a_failed_assertion_and_a_broken_invariant_tell_the_story() -> None:
    """As a note of the error, which pytest prints below it."""

    def begun(stage: Stage) -> list[str]:
        return [f"{run.key} was begun" for run in stage.runs.values()]

    never = Simulation(
        app, invariants=[lambda stage: [f"{run.key} was begun" for run in stage.runs.values()]]
    )

    @in_virtual_time
    async def asserting() -> None:
        async with TestHouse(simulation) as house:
            run = await house.start("order", ORDER)
            assert run.status == "completed"

    @in_virtual_time
    async def breaking() -> None:
        async with TestHouse(never) as house:
            await house.start("order", ORDER)

    with pytest.raises(AssertionError) as failed:
        asserting()
    assert "step_scheduled reserve" in failed.value.__notes__[-1]
    with pytest.raises(AssertionError, match="order-1 was begun") as broken:
        breaking()
    assert "run_started" in broken.value.__notes__[-1]


async def test_real_time_is_refused_with_the_way_out() -> None:
    """On an ordinary event loop nothing could leap."""
    with pytest.raises(ConfigurationError, match="in_virtual_time"):
        async with TestHouse(app):
            pass


@in_virtual_time
async def test_a_step_that_reaches_for_the_network_fails_with_the_reason() -> None:
    """Instead of a request to a real server from a test."""

    async def call(ctx: Any) -> dict[str, Any]:
        async with httpx.AsyncClient() as client:
            await client.get("http://127.0.0.1:9/")
        return {}

    async with TestHouse(simulation, stand_ins={"reserve": call}) as house:
        run = await (await house.start("order", ORDER)).ended()
        assert run.status in ("failed", "compensated")
        assert "orchestrator-a.1   there are no sockets" in house.story


def test_a_test_that_waits_for_nothing_says_so() -> None:
    """Where nothing is set to happen, waiting on would be for ever."""

    @in_virtual_time
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="can't happen any more"):
        hang()


@in_virtual_time
async def test_the_ride_with_its_service_books_and_mail() -> None:
    """Twelve hours without an end of the trip; a service that dies after it has taken the money."""
    async with TestHouse(ride) as house:
        house.crash_after("payments.authorize.v1")
        house.fail("match_driver", times=2)
        run = await house.start("ride", TRIP.request)
        await house.advance("11h")
        assert run.waiting == "trip_ended: waits for trip.ended.v1"
        assert house.calls("payments.authorize.v1") == 2
        await house.publish("trip.ended.v1", TRIP.end)
        await run.ended()
        await house.advance("5m")
        assert run.status == "completed"
        assert len(house.memory["post"].taken) >= 2
        held = house.memory["books"].ask("SELECT count(*) FROM payments WHERE what = 'authorized'")
        assert held == [(1,)]
        assert [each.status for each in house.reactions("receipts")] == ["done"]


@in_virtual_time
async def test_a_command_to_a_service_elsewhere_is_done_by_its_stand_in() -> None:
    """The orchestrator's team tests without the other team's code; without a stand-in it says so."""
    alone = replace(ride, app=_without_services())
    async with TestHouse(alone) as house:
        run = await (await house.start("ride", TRIP.request)).ended()
        assert (run.error or {})["code"] == "no_stand_in"
    seen = []

    def authorize(data: Any, ctx: Any) -> dict[str, Any]:
        seen.append(data["amount_cents"])
        return {"ride_id": data["ride_id"], "authorization": "a-1", "amount_cents": data["amount_cents"]}

    async with TestHouse(alone, stand_ins={"payments.authorize.v1": authorize}) as house:
        run = await house.start("ride", TRIP.request)
        await house.settle()
        assert len(seen) == 1
        assert run.waiting == "trip_ended: waits for trip.ended.v1"


def _without_services() -> Any:
    from antiphon import App
    from examples.ride.app import app as whole

    return App(
        "ride",
        flows=whole.flows,
        reactors=whole.reactors,
        contracts=whole.contract_folders,
        external=["trip.ended.v1"],
    )
