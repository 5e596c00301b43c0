"""A broker that is the tests' own, and that they may stop, block and set."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.devservices import Rabbit
from antiphon.devservices.process import Command
from antiphon.devservices.rabbit import LocalRabbit


def local(rabbit: Rabbit) -> LocalRabbit:
    """A broker that may be tortured."""
    if not isinstance(rabbit, LocalRabbit):
        pytest.skip("the broker at ANTIPHON_TEST_AMQP_URL is somebody else's: it is not stopped or blocked")
    return rabbit


async def control(rabbit: Rabbit, *arguments: str) -> None:
    """Run rabbitmqctl."""
    broker = local(rabbit)
    tool = broker.script.parent / "rabbitmqctl"
    code = await asyncio.to_thread(broker.run, Command([tool, *arguments], broker.environment()), 60.0)
    assert code == 0, broker.tail()


async def close_connections(rabbit: Rabbit, vhost: str) -> None:
    """What an operator does before maintenance."""
    await control(rabbit, "close_all_connections", "--vhost", vhost.rpartition("/")[2], "maintenance")
