"""The core of it: the ride, in strict order. This is all that the orchestrator needs to know.

Before ``dispatch`` the ride can still fail, and then what was done is undone in reverse order.
``dispatch`` is the pivot: a driver is on the way, so from there on the ride only goes forward.
"""

from __future__ import annotations

from antiphon import Command, Flow, Retry, emit, step, wait
from examples.ride.drivers import Dispatch, Match, dispatch, free_driver, match_driver, release_driver
from examples.ride.fare import Quote, quote_fare, withdraw_quote

__all__ = ["ride"]

ride = Flow(
    "ride",
    version=1,
    key="ride_id",
    input="ride.requested.v1",
    steps=[
        step(quote_fare, result=Quote, compensate=withdraw_quote),
        step(
            match_driver,
            result=Match,
            compensate=release_driver,
            retry=Retry(attempts=8, first=0.2, most=5.0),
            timeout="30s",
        ),
        step(
            "authorize_payment",
            at="payments",
            command="payments.authorize.v1",
            data={
                "ride_id": "$.input.ride_id",
                "amount_cents": "$.quote_fare.total_cents",
                "method": "$.input.payment",
            },
            result="payments.authorized.v1",
            compensate=Command("payments.void.v1", {"ride_id": "$.input.ride_id"}),
            retry=Retry(attempts=8, first=0.5, most=10.0),
            timeout="30s",
        ),
        step(dispatch, result=Dispatch, pivot=True, retry=Retry.until_done()),
        emit(
            "ride.booked.v1",
            {
                "ride_id": "$.input.ride_id",
                "rider": "$.input.rider",
                "driver": "$.match_driver.driver",
                "fare_cents": "$.quote_fare.total_cents",
                "pickup": "$.input.pickup",
                "dropoff": "$.input.dropoff",
            },
        ),
        wait("trip.ended.v1", by="ride_id", timeout="12h", name="trip_ended"),
        step(
            "capture_payment",
            at="payments",
            command="payments.capture.v1",
            data={"ride_id": "$.input.ride_id", "amount_cents": "$.quote_fare.total_cents"},
            result="payments.captured.v1",
            retry=Retry.until_done(),
            timeout="30s",
        ),
        step(free_driver, retry=Retry.until_done()),
        emit(
            "ride.completed.v1",
            {
                "ride_id": "$.input.ride_id",
                "rider": "$.input.rider",
                "driver": "$.match_driver.driver",
                "fare_cents": "$.capture_payment.amount_cents",
                "tip_cents": "$.trip_ended.tip_cents",
                "payment": "$.input.payment",
                "pickup": "$.input.pickup",
                "dropoff": "$.input.dropoff",
                "distance": "$.trip_ended.distance",
            },
        ),
    ],
    on_failure=[
        emit(
            "ride.cancelled.v1",
            {"ride_id": "$.input.ride_id", "rider": "$.input.rider", "reason": "$.error.code"},
        ),
    ],
    result={
        "ride_id": "$.input.ride_id",
        "driver": "$.match_driver.driver",
        "fare_cents": "$.capture_payment.amount_cents",
    },
)
