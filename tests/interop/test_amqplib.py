"""A service in another language: a plain AMQP client in Node.js, on a real RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from antiphon.devservices import Rabbit
from antiphon.keys.folder import private_name
from bus.port import EVENTS
from contracts.keyring import Rights
from tests.antiphon.signed_house import SignedHouse, until
from tests.interop.conftest import Node

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def event(type: str, id: str, trip: str) -> dict[str, Any]:
    """What the client publishes."""
    return {"id": id, "type": type, "source": "/acme/web", "workspace": "acme", "data": {"id": trip}}


@pytest.mark.parametrize("mode", ["off", "permissive", "strict"])
async def test_a_client_in_node_takes_part(rabbit: Rabbit, node: Node, tmp_path: Path, mode: str) -> None:
    """It ends a run's wait, a reactor handles its event, and it reads what the flow emits."""
    with rabbit.vhost() as amqp:
        async with SignedHouse(tmp_path, amqp, mode).at_work() as house:
            given: dict[str, Any] = {
                "url": amqp,
                "listen": "trip.booked.v1",
                "publish": [event("trip.over.v1", "js-1", "t-1")],
            }
            if mode == "strict":
                rights = Rights.of(sources=["/acme/web"], types=["trip.**"], exchanges=[EVENTS])
                house.maker.new("web", rights)
                given |= signing(house)
            await house.client.start("acme", "trip", {"id": "t-1"}, start_id="start-t-1")
            heard = await asyncio.to_thread(node.run, "amqp.mjs", given)
            assert heard["data"] == {"id": "t-1"}
            assert heard["headers"]["cloudEvents:type"] == "trip.booked.v1"
            assert heard["headers"]["cloudEvents:workspace"] == "acme"
            assert heard["messageId"] == heard["headers"]["cloudEvents:id"]
            await until(lambda: house.seen.booked == ["t-1"], "the reactor to have heard of it")
            given["publish"] = [event("trip.booked.v1", "js-2", "t-2")]
            await asyncio.to_thread(node.run, "amqp.mjs", given)
            await until(lambda: house.seen.booked == ["t-1", "t-2"], "the client's own event to be handled")
            assert await house.quarantined() == []


async def test_a_client_that_does_not_sign_is_not_heard(rabbit: Rabbit, node: Node, tmp_path: Path) -> None:
    """Strictly, its event is held in quarantine, and no reactor sees it."""
    with rabbit.vhost() as amqp:
        async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
            given = {
                "url": amqp,
                "listen": "trip.booked.v1",
                "publish": [event("trip.booked.v1", "js-3", "t-3")],
            }
            await asyncio.to_thread(node.run, "amqp.mjs", given)
            assert await house.until_quarantined(1) == [("reactor.watch", "unsigned")]
            assert house.seen.booked == []


def signing(house: SignedHouse) -> dict[str, Any]:
    """The client's key, and the JavaScript of docs/security.md as it stands there."""
    found = re.search(r"```js\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return {"key": json.loads((house.keys / private_name("web/1")).read_text()), "signing": found[1]}
