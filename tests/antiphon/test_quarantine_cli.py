"""``antiphon quarantine``: a message that was refused is seen, and released by whoever vouches for it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from antiphon.cli import main
from antiphon.devservices import Rabbit
from antiphon.keys import OPERATOR, ROLES
from bus.port import Message
from store.tables import audit
from tests.antiphon.signed_house import WAYS, SignedHouse, until


@pytest.fixture
def amqp(rabbit: Rabbit) -> Iterator[str]:
    with rabbit.vhost() as url:
        yield url


class Terminal:
    """A person at a terminal of the machine where the keys are."""

    def __init__(self, house: SignedHouse) -> None:
        self._variables = {name: value for name, value in house.settings.environment().items() if value}

    async def run(self, *arguments: str) -> Result:
        runner = CliRunner(env=self._variables)
        return await asyncio.to_thread(runner.invoke, main, ["quarantine", *arguments])

    async def told(self, *arguments: str) -> Any:
        result = await self.run(*arguments)
        assert result.exit_code == 0, result.output
        # The house is at work in this process too: what it logs at that moment is there before or after it.
        document = re.search(r"^[\[{]", result.stdout, re.MULTILINE)
        assert document is not None, result.output
        return json.JSONDecoder().raw_decode(result.stdout, document.start())[0]


def from_outside(id: str) -> Message:
    """An event of a producer that does not sign."""
    names = {"specversion": "1.0", "id": id, "source": "/acme/old", "type": "trip.booked.v1"}
    headers = {f"cloudEvents:{name}": value for name, value in {**names, "workspace": "acme"}.items()}
    return Message(id, f'{{"id":"{id}"}}'.encode(), headers=headers)


async def test_a_released_message_is_handled_and_audited(amqp: str, tmp_path: Path) -> None:
    """Listed with its reason, shown as it came, released under the operator's key."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        terminal = Terminal(house)
        await house.put(from_outside("t-1"), *WAYS["reactor.watch"])
        await house.until_quarantined(1)
        (held,) = await terminal.told("list", "--json")
        assert (held["reason"], held["queue"], held["kid"]) == ("unsigned", "reactor.watch", None)
        shown = await terminal.told("show", held["id"])
        assert shown["message"]["data"] == {"id": "t-1"}

        house.maker.ensure(OPERATOR, ROLES[OPERATOR](OPERATOR))
        result = await terminal.run("release", held["id"], "--reason", "it is ours")
        assert result.exit_code == 0, result.output
        assert "1 released" in result.output
        await until(lambda: "t-1" in house.seen.booked, "the released message to be handled")
        assert (await terminal.told("list", "--status", "released", "--json"))[0]["id"] == held["id"]
        again = await terminal.run("release", held["id"], "--reason", "twice")
        assert again.exit_code == 1
        rows = await house.rooms["gateway"].database.read(
            lambda conn: conn.execute(select(audit.c.action, audit.c.actor, audit.c.reason)).all()
        )
        ((action, actor, reason),) = [tuple(row) for row in rows]
        assert (action, actor.partition(":")[0], reason) == ("quarantine.release", "terminal", "it is ours")


async def test_all_of_one_reason_are_settled_together(amqp: str, tmp_path: Path) -> None:
    """And nothing of another reason with them."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        terminal = Terminal(house)
        for number in range(3):
            await house.put(from_outside(f"t-{number}"), *WAYS["reactor.watch"])
        headers = {"x-antiphon-kid": "nobody/1", "x-antiphon-signature": "AAAA"}
        unknown = from_outside("t-9")
        await house.put(replace(unknown, headers={**unknown.headers, **headers}), *WAYS["reactor.watch"])
        await house.until_quarantined(4)
        assert (await terminal.run("discard", "--reason", "no id and no reason")).exit_code == 2
        result = await terminal.run("discard", "--only", "unsigned", "--reason", "a test")
        assert "3 discarded" in result.output
        (left,) = await terminal.told("list", "--json")
        assert left["reason"] == "unknown-key"
        assert house.seen.booked == []


async def test_without_a_key_nothing_is_released(amqp: str, tmp_path: Path) -> None:
    """It would only be refused again: the message stays, and the command says what is missing."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        await house.put(from_outside("t-1"), *WAYS["reactor.watch"])
        await house.until_quarantined(1)
        house.maker.revoke("gateway/1")
        terminal = Terminal(house)
        (held,) = await terminal.told("list", "--json")
        result = await terminal.run("release", held["id"], "--reason", "no key")
        assert result.exit_code == 2
        assert "antiphon keys new operator" in result.output
        (still,) = await terminal.told("list", "--json")
        assert still["status"] == "held"
