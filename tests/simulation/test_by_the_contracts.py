"""An app that is played as it is: by the examples in its contracts."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from antiphon import App, Event, Flow, StepContext, reacts_to, step
from antiphon.testing import Simulation, Stage, simulate
from contracts.errors import ConfigurationError
from tests.simulation import shop as whole


async def pick(ctx: StepContext) -> dict[str, str]:
    return {"picked": ctx.run_key}


def shop(example: str | int) -> App:
    class Order(BaseModel):
        model_config = ConfigDict(json_schema_extra={"examples": [{"id": example}]})

        id: str | int

    steps = [step(pick, compensate="nothing")]
    return App("shop", flows=[Flow("order", version=1, key="id", input=Order, steps=steps)])


@pytest.mark.parametrize("example", ["order-1", "order-12", "order-100", "x", 7])
def test_as_many_runs_as_asked_for_have_keys_of_their_own(example: str | int) -> None:
    """Whatever digits the example ends with: two starts with one key are one run."""
    outcome = simulate(shop(example), seeds=[1], faults=(), runs=25)
    assert outcome.ok, outcome.story
    assert outcome.runs == {"completed": 25}


@reacts_to("order.shipped.v1")
async def tell(event: Event) -> None:
    """Tell the customer."""


def test_an_app_without_flows_says_what_it_needs() -> None:
    """Nothing would be asked of its reactors, and every promise would hold."""
    alone = App(
        "tellers", reactors=[tell], contracts=whole.app.contract_folders, external=["order.shipped.v1"]
    )
    with pytest.raises(ConfigurationError, match=r"no flows.*script"):
        simulate(alone, seeds=[1])

    async def script(stage: Stage, runs: int) -> None:
        await stage.publish("order.shipped.v1", {"order": "order-1", "parcel": "parcel-1"})

    assert simulate(Simulation(alone, script=script), seeds=[1, 2]).ok
