"""Quarantine over HTTP: release and discard, and whose may not be spoken as."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from bus.port import DIRECT, Message, Outgoing
from store.tables import audit, quarantine
from tests.gateway.house import House, until

BAD = Message("m-1", b"not json")


async def held(house: House, client: Any) -> dict[str, Any]:
    """Put garbage on a reactor's queue; the message in quarantine, once it is held."""
    await house.bus.publish(Outgoing(BAD, "reactor.tell", DIRECT))

    async def look() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await client.get("/quarantine")).json()["items"]
        return items

    (message,) = await until(look, "the quarantine")
    return message


async def actions(house: House) -> list[tuple[str, str, str | None]]:
    query = select(audit.c.action, audit.c.target, audit.c.reason).order_by(audit.c.seq)
    rows = await house.database.read(lambda conn: conn.execute(query).all())
    return [tuple(row) for row in rows if row.action.startswith("quarantine.")]


async def test_what_is_released_and_refused_again_is_held_again(house: House) -> None:
    """A release puts it back on its queue; what is wrong with it is still wrong, and it is not lost."""
    async with house.client("operator") as client:
        message = await held(house, client)
        answer = await client.post(message["links"]["release"], json={"reason": "a try"})
        assert (answer.status_code, answer.json()) == (202, {"id": message["id"], "status": "released"})

        async def again() -> bool:
            shown = (await client.get(message["links"]["self"])).json()
            return bool(shown["status"] == "held" and shown["received_at"] != message["received_at"])

        await until(again, "the message to be held again")
    assert await actions(house) == [("quarantine.release", message["id"], "a try")]


async def test_what_is_discarded_stays_to_be_seen_and_is_settled(house: House) -> None:
    """With who did it and why; a second time is a conflict."""
    async with house.client("operator") as client:
        message = await held(house, client)
        answer = await client.post(message["links"]["discard"], json={"reason": "garbage"})
        assert (answer.status_code, answer.json()["status"]) == (200, "discarded")
        for verb in ("discard", "release"):
            again = await client.post(message["links"][verb], json={"reason": "again"})
            assert (again.status_code, again.json()["type"].rpartition(":")[2]) == (409, "already-settled")
        listed = (await client.get("/quarantine", params={"status": "discarded"})).json()["items"]
        assert [one["id"] for one in listed] == [message["id"]]
    assert await actions(house) == [("quarantine.discard", message["id"], "garbage")]


async def test_only_operators_of_its_workspace_settle_it_and_they_say_why(house: House) -> None:
    """Viewers get 403, other workspaces 404, no reason 422; nothing is done."""
    other = await house.key("operator", workspace="globex")
    async with (
        house.client("viewer") as viewer,
        house.client("operator") as operator,
        house.client(key=other) as theirs,
    ):
        message = await held(house, operator)
        for verb in ("release", "discard"):
            path = message["links"][verb]
            assert (await viewer.post(path, json={"reason": "x"})).status_code == 403
            assert (await theirs.post(path, json={"reason": "x"})).status_code == 404
            assert (await operator.post(path, json={})).status_code == 422
        assert (await operator.post("/quarantine/nothing/release", json={"reason": "x"})).status_code == 404
    rows = await house.database.read(lambda conn: conn.execute(select(quarantine.c.status)).all())
    assert [row.status for row in rows] == ["held"]
    assert await actions(house) == []


async def test_a_release_that_the_bus_does_not_take_leaves_it_held(house: House) -> None:
    """Nothing is lost between the quarantine and the queue."""
    async with house.client("operator") as client:
        message = await held(house, client)
        await house.bus.close()
        answer = await client.post(message["links"]["release"], json={"reason": "x"})
        assert answer.status_code == 503
        assert (await client.get(message["links"]["self"])).json()["status"] == "held"


@pytest.mark.parametrize("source", ["flows/order", "/acme/flows/order", "/acme/reactors/tell", "reactors/x"])
async def test_nobody_speaks_as_a_flow_or_a_reactor(house: House, source: str) -> None:
    """An API key can't publish what the platform itself would say."""
    event = {"specversion": "1.0", "id": "e-1", "type": "order.paid.v1", "source": source}
    body = {**event, "data": {"order_id": "o-1"}}
    async with house.client("publisher") as client:
        answer = await client.post(
            "/events", json=body, headers={"Content-Type": "application/cloudevents+json"}
        )
    assert answer.status_code == 403
    assert "another source" in answer.json()["detail"]


async def test_a_message_nested_deeper_than_an_answer_can_be_is_shown_as_text(house: House) -> None:
    """What the bus brings has no limit of ours, and the operator has to see it all the same."""
    deep = b"[" * 300 + b"]" * 300
    await house.bus.publish(Outgoing(Message("m-1", deep), "reactor.tell", DIRECT))
    async with house.client("operator") as client:

        async def look() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = (await client.get("/quarantine")).json()["items"]
            return items

        (message,) = await until(look, "the quarantine")
        shown = await client.get(message["links"]["self"])
    assert (shown.status_code, shown.json()["message"].get("text")) == (200, deep.decode())
