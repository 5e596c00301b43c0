"""An app that is played as it is: by the examples in its contracts."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from antiphon import App, Flow, StepContext, step
from antiphon.testing import simulate


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
