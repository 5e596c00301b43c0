"""Nothing goes out of virtual time, however it is asked for: what a step reaches is reached for real else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.testing import Simulation, TestHouse, in_virtual_time, simulate
from tests.simulation.shop import app, simulation

ORDER = {"order": "order-1", "cents": 1250}


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Whoever connects to it was out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def _came(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_a_client_that_blocks_reaches_nobody_from_a_step(server: socket.socket) -> None:
    """A plain function with a plain client, as in a thread: refused like one that awaits, and told of."""

    def call(ctx: Any) -> dict[str, Any]:
        with socket.create_connection(server.getsockname(), timeout=5):
            return {"shelf": "of a real server"}

    @in_virtual_time
    async def test() -> None:
        async with TestHouse(simulation, stand_ins={"reserve": call}) as house:
            run = await (await house.start("order", ORDER)).ended()
            assert run.status in ("failed", "compensated")
            assert "there are no sockets" in house.story

    test()
    assert not _came(server)
    outcome = simulate(Simulation(app, stand_ins={"reserve": call}), seeds=[1], faults=(), runs=1)
    assert set(outcome.runs) <= {"failed", "compensated"}
    assert not _came(server)
    with socket.create_connection(server.getsockname(), timeout=5):  # and afterwards all is as it was
        assert _came(server)
    assert "connect" not in vars(socket.socket)
