"""Commands in, replies out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from contracts.errors import Retryable, Terminal
from reactors.service import CommandContext, Service
from store.tables import quarantine, reactions
from tests.reactors.world import AUTHORIZE, AUTHORIZED, World, authorize, booked, headers_of


class Amount(BaseModel):
    amount: float


def payments(do: Any, **options: Any) -> Service:
    """A service whose one command is done by ``do(amount, ctx)``."""
    service = Service("payments")

    @service.handles(AUTHORIZE, reply=AUTHORIZED, **options)
    async def handle(command: Amount, ctx: CommandContext) -> Any:
        return await do(command.amount, ctx)

    return service


async def test_done_is_answered(world: World) -> None:
    """The reply goes where the command says, with the run, node and attempt it belongs to."""
    seen: list[CommandContext] = []

    async def do(amount: float, ctx: CommandContext) -> dict[str, Any]:
        seen.append(ctx)
        return {"hold": f"h-{amount}"}

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    await world.command(authorize("c1", attempt=2), "payments")
    reply = await replies.next()
    assert reply.type == "antiphon.reply.v1"
    assert reply.source == "/services/payments"
    assert reply.data == {"outcome": "done", "result": {"hold": "h-12.5"}, "error": None, "retry_after": None}
    assert (reply.causation, reply.correlation, reply.workspace) == ("c1", "story-1", "acme")
    assert {name: reply.extensions[name] for name in ("runid", "node", "attempt")} == {
        "runid": "run-1",
        "node": "authorize_payment",
        "attempt": "2",
    }
    (ctx,) = seen
    assert (ctx.attempt, ctx.run_id, ctx.node, ctx.service) == (2, "run-1", "authorize_payment", "payments")


async def test_a_repeat_is_answered_not_done_again(world: World) -> None:
    """The reply is kept in the inbox; each repeat gets it under its own attempt."""
    done: list[str] = []

    async def do(amount: float, ctx: CommandContext) -> dict[str, Any]:
        done.append(ctx.key)
        return {"hold": f"h{len(done)}"}

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    await world.command(authorize("c1"), "payments")
    first = await replies.next()
    await world.command(authorize("c1", attempt=2), "payments")
    second = await replies.next()
    assert len(done) == 1
    assert first.data == second.data
    assert second.extensions["attempt"] == "2"
    assert first.id != second.id


async def test_a_refusal_is_kept(world: World) -> None:
    """A definite no stays a no, with its code."""
    asked: list[int] = []

    async def do(amount: float, ctx: CommandContext) -> None:
        asked.append(ctx.attempt)
        raise Terminal("the card was declined", code="declined")

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    for attempt in (1, 2):
        await world.command(authorize("c1", attempt=attempt), "payments")
        reply = await replies.next_reply()
        assert reply["outcome"] == "refused"
        assert reply["error"] == {"code": "declined", "message": "the card was declined"}
    assert asked == [1]


async def test_a_failure_is_not_kept(world: World) -> None:
    """The next attempt does the work again."""

    async def do(amount: float, ctx: CommandContext) -> dict[str, Any]:
        if ctx.attempt == 1:
            raise Retryable("the bank is busy", retry_after=7.0)
        if ctx.attempt == 2:
            raise ZeroDivisionError("bug")
        return {"hold": "h1"}

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    outcomes = []
    for attempt in (1, 2, 3):
        await world.command(authorize("c1", attempt=attempt), "payments")
        outcomes.append(await replies.next_reply())
    assert [outcome["outcome"] for outcome in outcomes] == ["failed", "failed", "done"]
    assert [outcome["retry_after"] for outcome in outcomes] == [7.0, None, None]
    assert await world.statuses("service.payments") == ["done"]


async def test_a_timeout_is_a_failure(world: World) -> None:
    """What was done is unknown then, and that is no refusal."""

    async def do(amount: float, ctx: CommandContext) -> None:
        await asyncio.sleep(3600)

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do, timeout=0.1)])
    await world.command(authorize(), "payments")
    reply = await replies.next_reply()
    assert (reply["outcome"], reply["error"]["code"]) == ("failed", "timeout")


async def test_a_repeat_during_the_work_waits_for_its_end(world: World) -> None:
    """Two copies at once are done once, and both are answered."""
    release = asyncio.Event()
    done: list[int] = []

    async def do(amount: float, ctx: CommandContext) -> dict[str, Any]:
        done.append(ctx.attempt)
        await release.wait()
        return {"hold": "h1"}

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    await world.command(authorize("c1"), "payments")
    await world.until_settled("service.payments", "claimed")
    await world.command(authorize("c1", attempt=2), "payments")
    await asyncio.sleep(0.1)
    release.set()
    attempts = [(await replies.next()).extensions["attempt"] for _ in range(2)]
    assert attempts == ["1", "2"]
    assert len(done) == 1


async def test_an_off_contract_command_is_refused_and_kept(world: World) -> None:
    """Whoever waits for the answer learns it at once; the message is in quarantine."""

    async def do(amount: float, ctx: CommandContext) -> None:
        pytest.fail("not to be called")

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    await world.command(authorize(data={"amount": "lots"}), "payments")
    reply = await replies.next_reply()
    assert (reply["outcome"], reply["error"]["code"]) == ("refused", "off-contract")
    (row,) = await world.rows(quarantine)
    assert row["reason"] == "off-contract"
    assert await world.rows(reactions) == []


async def test_a_command_that_names_no_place_to_answer(world: World) -> None:
    """It is not done: nobody would ever know."""

    async def do(amount: float, ctx: CommandContext) -> None:
        pytest.fail("not to be called")

    await world.run(services=[payments(do)])
    await world.command(authorize(replyto=None), "payments")
    (row,) = await world.until_rows(quarantine, 1)
    assert "replyto" in row["detail"]


@pytest.mark.parametrize(
    "extension",
    [{"replyto": "p" * 256}, {"replyto": "ä" * 128}, {"replyto": "p\n7"}, {"attempt": "9" * 5000}],
    ids=["long", "long in bytes", "newline", "attempt"],
)
async def test_a_command_that_no_reply_could_answer(world: World, extension: dict[str, str]) -> None:
    """It is not done, and kept; the next one is."""
    done: list[str] = []

    async def do(amount: float, ctx: CommandContext) -> dict[str, Any]:
        done.append(ctx.event.id)
        return {"hold": "h1"}

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    command = authorize("c1")
    await world.command(replace(command, extensions={**command.extensions, **extension}), "payments")
    await world.command(authorize("c2", replyto="p7"), "payments")
    assert (await replies.next()).causation == "c2"
    (row,) = await world.until_rows(quarantine, 1)
    (name,) = extension
    assert (row["reason"], row["message_id"]) == ("malformed", "c1")
    assert repr(name) in row["detail"]
    assert done == ["c2"]


async def test_a_reply_that_reaches_nobody(world: World) -> None:
    """The work is kept as done, and that nobody took the answer is seen."""

    async def do(amount: float, ctx: CommandContext) -> dict[str, Any]:
        return {"hold": "h1"}

    await world.run(services=[payments(do)])
    await world.command(authorize(replyto="nowhere"), "payments")
    (row,) = await world.until_rows(quarantine, 1)
    assert row["reason"] == "unanswerable"
    assert await world.statuses("service.payments") == ["done"]


@pytest.mark.parametrize("result", [{"hold": 7}, object()], ids=["off contract", "no JSON"])
async def test_a_result_that_can_not_be_told(world: World, result: Any) -> None:
    """The work may be done, so it is a failure whose outcome is open, not a refusal."""

    async def do(amount: float, ctx: CommandContext) -> Any:
        return result

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    await world.command(authorize(), "payments")
    assert (await replies.next_reply())["outcome"] == "failed"


async def test_services_and_events_do_not_mix(world: World) -> None:
    """An event put on a service's queue is quarantined; the service goes on."""

    async def do(amount: float, ctx: CommandContext) -> dict[str, Any]:
        return {"hold": "h1"}

    replies = await world.listen_for_replies()
    await world.run(services=[payments(do)])
    event = booked()
    await world.put("service.payments", event.body, headers_of(event))
    await world.command(authorize(), "payments")
    assert (await replies.next_reply())["outcome"] == "done"
    (row,) = await world.until_rows(quarantine, 1)
    assert row["reason"] == "unexpected-type"
