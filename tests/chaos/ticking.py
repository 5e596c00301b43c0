"""An app whose runs always have something due within a few seconds: pause, step, pause, step."""

from __future__ import annotations

from pydantic import BaseModel

from antiphon import App, Flow, StepContext, sleep, step

__all__ = ["PAUSE", "ROUNDS", "app", "ticking"]

PAUSE, ROUNDS = 4, 10  # seconds between two steps, and how many of them


class Asked(BaseModel):
    """What starts a run."""

    id: str


async def tick(ctx: StepContext) -> dict[str, str]:
    """Nearly nothing: what is measured is when it happens."""
    return {"by": ctx.node}


ticking = Flow(
    "ticking",
    version=1,
    key="id",
    input=Asked,
    steps=[
        node
        for number in range(ROUNDS)
        for node in (sleep(f"{PAUSE}s", name=f"pause{number}"), step(tick, name=f"tick{number}"))
    ],
)
app = App("ticking", flows=[ticking])
