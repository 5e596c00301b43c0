"""A small shop to play with, whose steps can be told to do wrong: a till that charges by no key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from antiphon import App, Event, Flow, ReactionContext, Retry, StepContext, emit, reacts_to, sleep, step, wait
from antiphon.testing import Simulation, Stage

__all__ = ["app", "careless", "careless_simulation", "charges", "simulation", "told", "wrong_simulation"]

charges: list[str] = []
told: list[str] = []


async def reserve(ctx: StepContext) -> dict[str, Any]:
    """Put it aside."""
    return {"shelf": f"shelf of {ctx.input['order']}"}


async def put_back(ctx: StepContext) -> None:
    """Put it back."""


async def charge(ctx: StepContext) -> dict[str, Any]:
    """Take the money: once for each key, as it should be."""
    if ctx.key not in charges:
        charges.append(ctx.key)
    return {"receipt": ctx.key}


async def charge_again(ctx: StepContext) -> dict[str, Any]:
    """Take the money, without a look at the key: what a simulation has to find."""
    charges.append(ctx.input["order"])
    await asyncio.sleep(1.0)  # the answer takes its time
    return {"receipt": ctx.key}


async def ship(ctx: StepContext) -> dict[str, Any]:
    """Send it off."""
    return {"parcel": f"parcel of {ctx.input['order']}"}


@reacts_to("order.shipped.v1", retry=Retry(attempts=5, first=1.0, most=60.0))
async def tell(event: Event, ctx: ReactionContext) -> None:
    """Tell the customer."""
    if ctx.key not in told:
        told.append(ctx.key)


def shop(pay: Any) -> App:
    """The shop, with this till."""
    return App(
        "shop",
        flows=[
            Flow(
                "order",
                version=1,
                key="order",
                input="order.placed.v1",
                steps=[
                    step(reserve, compensate=put_back, retry=Retry(attempts=3, first=10.0, most=60.0)),
                    wait("order.paid.v1", by="order", timeout="3d", name="payment"),
                    step(pay, name="charge", compensate="nothing", retry=Retry(attempts=4, first=1.0)),
                    sleep("2h", name="pack"),
                    step(ship, pivot=True, retry=Retry.until_done()),
                    emit("order.shipped.v1", {"order": "$.input.order", "parcel": "$.ship.parcel"}),
                ],
            )
        ],
        reactors=[tell],
        contracts=Path(__file__).parent / "contracts",
        external=["order.paid.v1"],
    )


app = shop(charge)
careless = shop(charge_again)


def prepare(stage: Stage) -> None:
    """An empty till for each seed."""
    charges.clear()
    told.clear()


def charged_once(stage: Stage) -> Iterable[str]:
    """No order is charged twice."""
    return [f"{order} was charged {times} times" for order, times in Counter(charges).items() if times > 1]


simulation = Simulation(app, prepare=prepare, invariants=[charged_once])
careless_simulation = Simulation(careless, prepare=prepare, invariants=[charged_once])
wrong_simulation = Simulation(
    app, prepare=prepare, invariants=[lambda stage: [f"{id} was begun" for id in stage.runs]]
)
