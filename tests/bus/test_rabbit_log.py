"""What the log says while the broker is away: that, once, and why."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

import pytest

from antiphon.devservices import Rabbit
from bus.rabbit import RabbitBus
from tests.bus.controlled import close_connections, local
from tests.bus.helpers import PATIENCE, until

OURS = "bus.rabbit.connection"


def said(caplog: pytest.LogCaptureFixture, words: str, least: int = logging.DEBUG) -> int:
    """How often our connections said something that fits that pattern."""
    return sum(
        record.name == OURS and record.levelno >= least and re.search(words, record.getMessage()) is not None
        for record in caplog.records
    )


async def until_so(condition: Callable[[], bool]) -> None:
    """Wait for it."""

    async def so() -> bool:
        return condition()

    await until(so)


async def test_a_lost_broker_is_logged_once_a_connection(
    rabbit: Rabbit, caplog: pytest.LogCaptureFixture
) -> None:
    """Lost, not there yet, back: once each, however many tries that took, and no traceback of a library."""
    broker = local(rabbit)
    caplog.set_level(logging.DEBUG, logger=OURS)
    with broker.vhost() as url:
        bus = RabbitBus(url, publish_timeout=5.0, connect_timeout=5.0)
        await bus.start()
        try:
            broker.kill()
            await until_so(lambda: said(caplog, "does not answer yet") >= 8)
            await asyncio.to_thread(broker.start)
            await until_so(lambda: said(caplog, "connection is back") == 2)
        finally:
            if not broker.running:
                await asyncio.to_thread(broker.start)
            await bus.close()
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.exc_info for record in loud] == [None] * len(loud)
    assert {record.name.split(".")[0] for record in loud} == {"bus"}
    assert said(caplog, r"connection was lost \(", logging.WARNING) == 2
    assert said(caplog, "does not answer yet: ", logging.WARNING) == 2


async def test_the_reason_that_the_broker_gave_is_in_the_log(
    rabbit: Rabbit, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator who closes connections says why, and the log of the one who was closed has it."""
    broker = local(rabbit)
    closed = [rf"the \w+ {side} connection was lost \(.*maintenance" for side in ("publish", "consume")]
    with broker.vhost() as url:
        bus = RabbitBus(url, publish_timeout=5.0, connect_timeout=5.0)
        await bus.start()
        try:
            async with asyncio.timeout(PATIENCE):
                # Again: the command spares a connection that is so young that the broker has not counted it.
                while not all(said(caplog, words, logging.WARNING) for words in closed):
                    await close_connections(rabbit, url)
        finally:
            await bus.close()
