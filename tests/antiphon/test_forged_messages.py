"""A real RabbitMQ, a key for each role, and a stranger: what is forged is quarantined, and never handled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.devservices import Rabbit
from antiphon.keys import ROLES
from antiphon.keys.folder import private_name, read_private
from bus.port import Message
from contracts.signing import KID, Sealed
from orchestrator.flow import run_id_of
from orchestrator.wire import partition_of
from tests.antiphon.signed_house import WAYS, SignedHouse, until
from tests.sealing import signed

KINDS = ("altered", "other way", "unsigned", "other source", "revoked", "unknown", "stale")


@pytest.fixture
def amqp(rabbit: Rabbit) -> Iterator[str]:
    with rabbit.vhost() as url:
        yield url


def plain(message: Message) -> Message:
    """Without a signature, or a trace of the tap."""
    kept = {n: v for n, v in message.headers.items() if not n.startswith("x-antiphon-")}
    return replace(message, headers=kept)


def sign_as(house: SignedHouse, kid: str, message: Message, way: tuple[str, str], at: float) -> Message:
    """Signed with a key of the house, as one who has stolen it would."""
    key = read_private(house.keys / private_name(kid))
    bare = plain(message)
    sealed = Sealed(bare.headers, bare.body, bare.content_type, *way)
    return replace(bare, headers=signed(sealed, key, at))


def forge(house: SignedHouse, kind: str, queue: str, real: Message) -> tuple[Message, tuple[str, str], str]:
    """A forgery of a real message, the way that it goes, and the reason that it must be refused for."""
    way = WAYS[queue]
    now = time.time()
    owner = {"reactor.watch": "orchestrator/1", "service.bank": "orchestrator/1"}.get(queue, "gateway/1")
    made = replace(real, id=f"{kind}-{queue}")
    body = real.body.replace(b'"id":"', b'"id":"forged-')
    match kind:
        case "altered":
            return replace(made, body=body), way, "bad-signature"
        case "other way":
            return made, ("", queue), "bad-signature"
        case "unsigned":
            return plain(replace(made, body=body)), way, "unsigned"
        case "other source":
            return sign_as(house, "reactors/1", replace(made, body=body), way, now), way, "wrong-source"
        case "revoked":
            return sign_as(house, "thief/1", replace(made, body=body), way, now), way, "revoked-key"
        case "unknown":
            headers = {**made.headers, KID: "nobody/7"}
            return replace(made, body=body, headers=headers), way, "unknown-key"
        case _:
            old = now - house.settings.freshness_seconds - 60
            return sign_as(house, owner, replace(made, body=body), way, old), way, "stale"


async def test_no_forgery_is_handled_on_any_queue(amqp: str, tmp_path: Path) -> None:
    """Each kind of forgery, on the queue of a reactor, of a service, of a partition and of awaited events."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        house.maker.new("thief", ROLES["development"]("thief"))
        house.maker.revoke("thief/1")
        await house.trip("t-1")
        await until(lambda: all(house.tapped.values()), "every kind of message to be seen")
        expected = []
        for queue, seen in house.tapped.items():
            for kind in KINDS:
                message, way, reason = forge(house, kind, queue, seen[0].message)
                expected.append((queue, reason))
                await house.put(message, *way)
        found = await house.until_quarantined(len(expected))
        assert found == sorted(expected)
        await house.trip("t-2")
        assert house.seen.booked == house.seen.held == ["t-1", "t-2"]
        assert await house.ended() == ["t-1", "t-2"]
        assert await house.quarantined() == sorted(expected)


async def test_starts_that_share_a_message_are_signed_like_any(amqp: str, tmp_path: Path) -> None:
    """A gateway's key may say them, and each becomes a run; changed on the way, none of them does."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        ids = [f"t-{number}" for number in range(1, 5)]
        await asyncio.gather(
            *(house.client.start("acme", "trip", {"id": id}, start_id=f"start-{id}") for id in ids)
        )
        shared = [one.message for one in house.tapped["partition.0"] if b'{"starts":' in one.message.body]
        assert shared
        for id in ids:
            await house.over(id)
        await until(lambda: sorted(house.seen.booked) == ids, "all of them to be heard of")
        assert await house.ended() == ids
        assert await house.quarantined() == []
        forged = replace(shared[0], body=shared[0].body.replace(b"t-", b"u-"))
        await house.put(forged, *WAYS["partition.0"])
        assert await house.until_quarantined(1) == [("partition.0", "bad-signature")]
        assert await house.ended() == ids


async def test_what_an_owner_sends_on_to_another_partition_is_vouched_for(amqp: str, tmp_path: Path) -> None:
    """Starts alone and in company, said by who does not know of more partitions: none of them is refused."""
    async with SignedHouse(tmp_path, amqp, "strict", partitions=3).at_work() as house:
        ids = [f"t-{number}" for number in range(1, 10)]
        await asyncio.gather(
            *(house.client.start("acme", "trip", {"id": id}, start_id=f"start-{id}") for id in ids[1:])
        )
        await house.client.start("acme", "trip", {"id": ids[0]}, start_id="alone")
        assert any(b'{"starts":' in one.message.body for one in house.tapped["partition.0"])
        for id in ids:
            await house.over(id)
        await until(lambda: sorted(house.seen.booked) == ids, "all of them to be heard of")
        assert await house.ended() == ids
        assert len({partition_of(run_id_of("acme", "trip", id), 3) for id in ids}) == 3
        assert await house.quarantined() == []


async def test_a_replay_of_the_very_same_message_changes_nothing(amqp: str, tmp_path: Path) -> None:
    """Its signature holds; the inbox knows its source and id."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        await house.trip("t-1")
        await until(lambda: all(house.tapped.values()), "every kind of message to be seen")
        for queue, seen in house.tapped.items():
            for delivery in list(seen):
                headers = {n: v for n, v in delivery.message.headers.items() if "origin" not in n}
                await house.put(replace(delivery.message, headers=headers), *WAYS[queue])
        await house.trip("t-2")
        assert house.seen.booked == house.seen.held == ["t-1", "t-2"]
        assert await house.quarantined() == []


async def test_a_service_answers_for_itself_only(amqp: str, tmp_path: Path) -> None:
    """A service with a good key that answers a command of another's is not believed."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        house.maker.new("post", ROLES["service"]("post"))
        await house.trip("t-1")
        replies = [one.message for one in house.tapped["partition.0"] if b'"outcome"' in one.message.body]
        mine = {**replies[0].headers, "cloudEvents:source": "/services/post", "cloudEvents:id": "another"}
        forged = replace(replies[0], id="another", headers=mine)
        way = WAYS["partition.0"]
        await house.put(sign_as(house, "post/1", forged, way, time.time()), *way)
        posing = replace(replies[0], id="posing")
        await house.put(sign_as(house, "post/1", posing, way, time.time()), *way)
        assert await house.until_quarantined(2) == [("partition.0", "wrong-source")] * 2


async def test_a_service_can_not_command_or_start(amqp: str, tmp_path: Path) -> None:
    """Nor publish an event, nor reach another's queue by a hop, with a key that is valid."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        await house.trip("t-1")
        await until(lambda: all(house.tapped.values()), "every kind of message to be seen")
        for queue, seen in house.tapped.items():
            made = replace(seen[0].message, id=f"by-bank-{queue}")
            own = {**made.headers, "cloudEvents:source": "/services/bank"}
            await house.put(
                sign_as(house, "bank/1", replace(made, headers=own), WAYS[queue], time.time()), *WAYS[queue]
            )
            if queue != "service.bank":
                hop = replace(made, id=f"hop-{queue}")
                await house.put(sign_as(house, "bank/1", hop, ("", queue), time.time()), "", queue)
        found = await house.until_quarantined(7)
        assert {reason for _, reason in found} == {"wrong-type", "wrong-routing"}
        assert house.seen.booked == house.seen.held == ["t-1"]


async def test_permissive_lets_through_and_counts(amqp: str, tmp_path: Path) -> None:
    """For the time of a rollout: unsigned messages are handled as before, and seen."""
    async with SignedHouse(tmp_path, amqp, "permissive").at_work() as house:
        await house.trip("t-1")
        assert house.let_through() == 0
        real = plain(house.tapped["reactor.watch"][0].message)
        headers = {**real.headers, "cloudEvents:id": "unsigned-1"}
        await house.put(
            replace(real, id="unsigned-1", body=b'{"id":"t-9"}', headers=headers), *WAYS["reactor.watch"]
        )
        await until(lambda: "t-9" in house.seen.booked, "the unsigned event to be handled")
        assert house.let_through() == 1
        assert await house.quarantined() == []


async def test_rotation_under_load_loses_nothing(amqp: str, tmp_path: Path) -> None:
    """Every key is rotated while trips are under way; no process is restarted, nothing is quarantined."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        trips = [f"t-{number}" for number in range(120)]

        async def drive(ids: list[str]) -> None:
            for id in ids:
                await house.trip(id)

        async def rotate() -> None:
            for name in ("gateway", "orchestrator", "reactors", "bank"):
                house.maker.rotate(name, overlap=60.0, activate_in=0.0)
                await asyncio.sleep(0.3)
            await until(lambda: "bank/2" in _kids(house), "bank/2 to sign")

        async with asyncio.TaskGroup() as group:
            group.create_task(rotate())
            for lane in range(4):
                group.create_task(drive(trips[lane::4]))
        await house.trip("last")
        assert sorted(house.seen.booked) == sorted([*trips, "last"])
        assert await house.quarantined() == []
        assert {"gateway/2", "orchestrator/2", "bank/2"} <= _kids(house)


def _kids(house: SignedHouse) -> set[str]:
    """The keys that were seen to sign."""
    return {str(one.message.headers[KID]) for seen in house.tapped.values() for one in seen}


async def test_a_revoked_key_ends_within_seconds(amqp: str, tmp_path: Path) -> None:
    """Without a restart: what it signs from then on, and what waits, is quarantined."""
    async with SignedHouse(tmp_path, amqp, "strict").at_work() as house:
        await house.trip("t-1")
        house.maker.new("web", ROLES["gateway"]("web"))
        real = house.tapped["orchestrator.events"][0].message

        async def say(id: str) -> None:
            headers = {**real.headers, "cloudEvents:id": id}
            body = f'{{"id":"{id}"}}'.encode()
            way = WAYS["orchestrator.events"]
            made = replace(real, id=id, headers=headers, body=body)
            await house.put(sign_as(house, "web/1", made, way, time.time()), *way)

        await house.client.start("acme", "trip", {"id": "t-2"}, start_id="start-t-2")
        await say("t-2")
        await until(lambda: "t-2" in house.seen.booked, "the good key to be believed")
        house.maker.revoke("web/1")
        await asyncio.sleep(1.2)  # how often a process looks at its keyring
        await say("t-3")
        assert await house.until_quarantined(1) == [("orchestrator.events", "revoked-key")]
