"""What a service returns may be more than the broker takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.devservices import Rabbit
from reactors.service import CommandContext, Service
from tests.bus.controlled import control
from tests.reactors.world import AUTHORIZE, World, authorize

_SETTING = "application:set_env(rabbit, max_message_size, {})."


@pytest.fixture
async def narrow(rabbit: Rabbit, tmp_path: Path) -> AsyncIterator[World]:
    """A world whose broker takes no message of more than 100,000 bytes."""
    await control(rabbit, "eval", _SETTING.format(100_000))
    try:
        with rabbit.vhost() as vhost:
            world = World(vhost, f"sqlite:///{tmp_path / 'store.db'}")
            await world.open()
            yield world
            await world.close()
    finally:
        await control(rabbit, "eval", _SETTING.format(134_217_728))


async def test_a_reply_that_is_too_large_is_answered_with_a_failure(narrow: World) -> None:
    """Whoever waits learns why, a repeat too, and the service goes on; the work is kept as done."""
    done: list[str] = []
    service = Service("payments", concurrency=1)

    @service.handles(AUTHORIZE)
    async def handle(command: dict[str, Any], ctx: CommandContext) -> str:
        done.append(ctx.event.id)
        return "x" * int(command["amount"])

    replies = await narrow.listen_for_replies()
    await narrow.run(services=[service])
    await narrow.command(authorize("c1", data={"amount": 100_001}), "payments")
    await narrow.command(authorize("c2", data={"amount": 3}), "payments")
    large, small = await replies.next(), await replies.next()
    assert (large.causation, large.data["outcome"], large.data["error"]["code"]) == (
        "c1",
        "failed",
        "result_too_large",
    )
    assert (small.causation, small.data["result"]) == ("c2", "xxx")
    await narrow.command(authorize("c1", attempt=2, data={"amount": 100_001}), "payments")
    assert (await replies.next_reply())["outcome"] == "failed"
    assert done == ["c1", "c2"]
    assert await narrow.statuses("service.payments") == ["done", "done"]
