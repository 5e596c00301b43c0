"""A small ride app whose keys decide what goes wrong, so that every page has something to show."""

from __future__ import annotations

import asyncio
from typing import Any

from contracts.errors import Retryable, Terminal
from contracts.registry import Registry
from contracts.retry import Retry
from orchestrator.flow import Flow
from orchestrator.nodes import Command, emit, parallel, step, wait, when
from reactors.context import ReactionContext
from reactors.reactor import Reactor, reactor_of, reacts_to
from reactors.service import CommandContext, Service

_RIDE = {
    "type": "object",
    "required": ["ride_id"],
    "properties": {"ride_id": {"type": "string", "minLength": 1}},
}
TYPES = (
    "ride.requested.v1",
    "ride.booked.v1",
    "ride.completed.v1",
    "ride.cancelled.v1",
    "receipt.written.v1",
    "trip.ended.v1",
    "payments.authorize.v1",
    "payments.void.v1",
    "payments.capture.v1",
)


def registry() -> Registry:
    """Contracts for all of it."""
    found = Registry.load()
    for type in TYPES:
        found.add(type, {**_RIDE, "description": f"{type} of the tests"})
    return found


async def quote_fare(ctx: Any) -> dict[str, Any]:
    return {"total_cents": 1840, "distance_miles": 3.2}


async def match_driver(ctx: Any) -> dict[str, Any]:
    if "flaky" in ctx.run_key and ctx.attempt < 3:
        raise Retryable("every driver near Astoria is busy")
    return {"driver": "d-0117", "eta_s": 240}


async def release_driver(ctx: Any) -> None:
    await asyncio.sleep(0.005)
    if "stuck" in ctx.run_key:
        raise Terminal("the roster refuses: driver d-0117 is on another ride", code="roster")


async def dispatch(ctx: Any) -> dict[str, Any]:
    return {"dispatched": True}


def flows() -> tuple[Flow, Flow]:
    """The ride; and a flow with a choice, branches and a signal, for the drawing."""
    ride = {"ride_id": "$.input.ride_id"}
    first = Flow(
        "ride",
        version=1,
        key="ride_id",
        input="ride.requested.v1",
        steps=[
            step(quote_fare),
            step(
                match_driver,
                compensate=release_driver,
                retry=Retry(attempts=4, first=0.08, most=0.3, jitter=0),
            ),
            step(
                "authorize_payment",
                at="payments",
                command="payments.authorize.v1",
                data=ride,
                compensate=Command("payments.void.v1", ride),
                retry=Retry(attempts=2, first=0.05),
            ),
            step(dispatch, pivot=True),
            emit("ride.booked.v1", ride, name="booked"),
            wait("trip.ended.v1", by="ride_id", timeout="12h", name="trip_ended"),
            step("capture_payment", at="payments", command="payments.capture.v1", data=ride),
            emit("ride.completed.v1", ride, name="completed"),
        ],
        on_failure=[emit("ride.cancelled.v1", ride, name="cancelled")],
        result={"ride_id": "$.input.ride_id", "fare_cents": "$.quote_fare.total_cents"},
    )
    second = Flow(
        "refund",
        version=1,
        key="ride_id",
        input="ride.requested.v1",
        steps=[
            step(quote_fare),
            when(
                {"properties": {"quote_fare": {"properties": {"total_cents": {"minimum": 1000}}}}},
                then=[wait(signal="approve", name="approval")],
                name="large?",
            ),
            parallel(
                [step(match_driver, name="notify_bank")], [step(dispatch, name="write_books")], name="both"
            ),
            emit("ride.cancelled.v1", ride, name="refunded"),
        ],
    )
    return first, second


def payments() -> Service:
    """Authorizes all but declined cards."""
    service = Service("payments")

    @service.handles("payments.authorize.v1")
    async def authorize(data: dict[str, Any], ctx: CommandContext) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        if "declined" in data["ride_id"] or "stuck" in data["ride_id"]:
            raise Terminal("card ending 4242 was declined by the bank", code="card_declined")
        return {"authorization": f"auth-{data['ride_id']}"}

    @service.handles("payments.void.v1")
    async def void(data: dict[str, Any], ctx: CommandContext) -> dict[str, Any]:
        return {"voided": True}

    @service.handles("payments.capture.v1")
    async def capture(data: dict[str, Any], ctx: CommandContext) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"captured": 1840}

    return service


class Faults:
    """What the reactors do wrong; a test may mend it."""

    def __init__(self) -> None:
        self.mailbox_full = True
        self.told: list[str] = []


def reactors(faults: Faults) -> tuple[list[Reactor], list[Reactor]]:
    """Those that run, and one that is declared and runs nowhere."""

    @reacts_to(
        "ride.booked.v1",
        "ride.completed.v1",
        "ride.cancelled.v1",
        retry=Retry(attempts=3, first=0.1, most=0.2, jitter=0),
    )
    async def notify(event: dict[str, Any], ctx: ReactionContext) -> None:
        await asyncio.sleep(0.004)
        if "flaky" in event["ride_id"] and ctx.attempt == 1:
            raise Retryable("SMTP 421: mail server is busy, try again later")
        faults.told.append(event["ride_id"])

    @reacts_to("ride.booked.v1", "ride.completed.v1", retry=Retry(attempts=2, first=0.1, most=0.2, jitter=0))
    async def receipts(event: dict[str, Any], ctx: ReactionContext) -> None:
        await asyncio.sleep(0.003)
        if "unlucky" in event["ride_id"] and faults.mailbox_full:
            raise RuntimeError(f"550 5.2.2 mailbox of rider r-{event['ride_id']} is full")
        await ctx.emit("receipt.written.v1", {"ride_id": event["ride_id"]})

    @reacts_to("receipt.written.v1", "ride.completed.v1")
    async def city_stats(event: dict[str, Any], ctx: ReactionContext) -> None:
        await asyncio.sleep(0.001)

    @reacts_to("ride.booked.v1")
    async def driver_earnings(event: dict[str, Any], ctx: ReactionContext) -> None:
        """Declared, and run nowhere: its reactions stay missing."""

    return [reactor_of(each) for each in (notify, receipts, city_stats)], [reactor_of(driver_earnings)]
