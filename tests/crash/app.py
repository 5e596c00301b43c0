"""The app that is killed: every kind of node, a service, reactors, and a log of what was really done.

Each step, compensation, command and reaction appends a line to ``calls.jsonl`` before it does anything
else: the world outside, which no rollback reaches.
"""

from __future__ import annotations

import asyncio
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from antiphon import (
    App,
    Command,
    CommandContext,
    Flow,
    ReactionContext,
    Retry,
    Retryable,
    Service,
    StepContext,
    Terminal,
    call,
    emit,
    reacts_to,
    sleep,
    step,
    wait,
)

__all__ = ["SHIPPED", "app", "old_app", "set_world"]

CONTRACTS = Path(__file__).parent / "contracts"
SHIPPED = "CREATE TABLE shipped (id TEXT NOT NULL)"  # takes an id twice, so that a repeat shows

_world = Path("/nonexistent")


def set_world(folder: Path) -> None:
    """Where this process writes down what it did."""
    global _world
    _world = folder


def _did(what: str, of: str, key: str) -> None:
    line = json.dumps({"what": what, "of": of, "key": key, "pid": os.getpid()})
    with (_world / "calls.jsonl").open("a") as calls:
        calls.write(line + "\n")


async def reserve(ctx: StepContext) -> dict[str, str]:
    """On the loop, and it takes a moment."""
    _did("reserve", ctx.run_key, ctx.key)
    await asyncio.sleep(0.001)
    return {"at": "shelf 1"}


async def unreserve(ctx: StepContext) -> None:
    """The first to be done, the last to be undone."""
    _did("unreserve", ctx.run_key, ctx.key)


def pack(ctx: StepContext) -> dict[str, str]:
    """In a thread. The first attempt fails; for a bad order all do, for good."""
    _did("pack", ctx.run_key, ctx.key)
    if ctx.run_key.startswith("bad"):
        raise Terminal("it does not fit into any box", code="too_big")
    if ctx.attempt == 1:
        raise Retryable("the tape is out", retry_after=0.02)
    return {"box": "b-1"}


async def tag(ctx: StepContext) -> dict[str, str]:
    """Follows directly on another step that runs here."""
    _did("tag", ctx.run_key, ctx.key)
    return {"tag": "t-1"}


async def label(ctx: StepContext) -> dict[str, str]:
    """The child's only step."""
    _did("label", ctx.run_key, ctx.key)
    return {"label": "l-1"}


async def close(ctx: StepContext) -> dict[str, str]:
    """The last step of every flow."""
    _did("close", ctx.run_key, ctx.key)
    return {"closed": ctx.run_key}


_ID = {"id": "$.input.id"}

ORDER = Flow(
    "order",
    version=1,
    key="id",
    input="order.asked.v1",
    steps=[
        step(reserve, compensate=unreserve),
        step(
            "charge",
            at="bank",
            command="bank.charge.v1",
            data=_ID,
            result="bank.charged.v1",
            compensate=Command("bank.refund.v1", _ID),
        ),
        step(pack, compensate="nothing", retry=Retry(attempts=6, first=0.02, most=0.02)),
        emit("order.placed.v1", _ID),
        emit("order.ignored.v1", _ID),
        wait("order.shipped.v1", by="id"),
        sleep("20ms", name="rest"),
        call("label", _ID, name="labelled"),
        wait("order.confirmed.v1", by="id"),
        step(close, compensate="nothing"),
    ],
    result={"closed": "$.close.closed"},
)
LABEL = Flow("label", version=1, key="id", input="order.asked.v1", steps=[step(label, compensate="nothing")])
HOLD = Flow(
    "hold",
    version=1,
    key="id",
    input="order.asked.v1",
    steps=[
        step(reserve, compensate=unreserve),
        step(tag, compensate="nothing"),
        wait(signal="go"),
        step(close, compensate="nothing"),
    ],
)
NEWER = Flow("newer", version=1, key="id", input="order.asked.v1", steps=[step(close, compensate="nothing")])

bank = Service("bank")


@bank.handles("bank.charge.v1", reply="bank.charged.v1")
async def charge(command: dict[str, Any], ctx: CommandContext) -> dict[str, str]:
    """The money is taken."""
    _did("charge", command["id"], ctx.key)
    return {"id": command["id"], "receipt": ctx.key}


@bank.handles("bank.refund.v1")
async def refund(command: dict[str, Any], ctx: CommandContext) -> dict[str, str]:
    """The money is given back."""
    _did("refund", command["id"], ctx.key)
    return {"id": command["id"]}


@reacts_to("order.placed.v1", transactional=True, retry=Retry(attempts=4, first=0.02, most=0.02))
async def ship(event: dict[str, Any], ctx: ReactionContext) -> None:
    """Its own row joins the settling commit; what it emits wakes the order."""
    _did("ship", event["id"], ctx.key)
    ctx.execute(partial(_shipped, event["id"]))
    await ctx.emit("order.shipped.v1", {"id": event["id"]})


@reacts_to("order.placed.v1", transactional=True, idempotent=True)
async def count(event: dict[str, Any], ctx: ReactionContext) -> None:
    """Begins without a claim, and its row counts once all the same."""
    ctx.execute(partial(_shipped, f"count {event['id']}"))


def _shipped(id: str, conn: Connection) -> None:
    conn.execute(text("INSERT INTO shipped (id) VALUES (:id)"), {"id": id})


@reacts_to("order.placed.v1", retry=Retry(attempts=2, first=0.02, most=0.02))
async def fragile(event: dict[str, Any], ctx: ReactionContext) -> None:
    """Fails, twice and to its end, until somebody has mended it."""
    _did("fragile", event["id"], ctx.key)
    if not (_world / "mended").exists():
        raise RuntimeError("it is broken")


@reacts_to("order.slowed.v1")
async def slow(event: dict[str, Any], ctx: ReactionContext) -> None:
    """Takes its time until somebody hurries it."""
    _did("slow", event["id"], ctx.key)
    while not (_world / "hurried").exists():
        await asyncio.sleep(0.02)


def _app(*flows: Flow) -> App:
    return App(
        "crash",
        flows=flows,
        reactors=[ship, count, fragile, slow],
        services=[bank],
        contracts=CONTRACTS,
        external=["order.confirmed.v1", "order.slowed.v1", "order.ignored.v1"],
    )


app = _app(ORDER, LABEL, HOLD, NEWER)
old_app = _app(ORDER, LABEL, HOLD)  # from before NEWER was written
