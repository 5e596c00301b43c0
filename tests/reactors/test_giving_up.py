"""What raises whatever is tried is given back a few times, then given up where it can be seen."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bus.signed import SignedBus, Signing
from contracts.envelope import Event
from reactors import consumer
from reactors.consumer import MOST_GIVEN_BACK, pause_before
from reactors.intake import Accepted, Intake
from reactors.quarantine_desk import QuarantineDesk
from reactors.reacting import ReactorDesk
from reactors.reactor import reacts_to
from store.tables import quarantine
from tests.bus.test_signed_bus import MAIL, RIDES, Ring
from tests.reactors.world import BOOKED, WORKSPACE, World, booked, until

QUEUE = "reactor.mail"
TRIES = MOST_GIVEN_BACK + 1


@reacts_to(BOOKED, concurrency=2)
async def mail(event: Event) -> None:
    """Accepts what comes."""


class Bug:
    """The desk raises for what is called ``bad…``, the first ``times`` times that it comes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: float = float("inf")) -> None:
        self.raised: Counter[str] = Counter()
        self.times = times
        handle = ReactorDesk.handle

        async def raising(desk: ReactorDesk, delivery: Any, claim: Any) -> None:
            id = claim.key.event_id
            if id.startswith("bad") and self.raised[id] < self.times:
                self.raised[id] += 1
                raise LookupError(f"nobody thought of {id}")
            await handle(desk, delivery, claim)

        monkeypatch.setattr(ReactorDesk, "handle", raising)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given back at once."""
    monkeypatch.setattr(consumer, "AGAIN", 0.0)


@pytest.mark.usefixtures("hurried")
async def test_what_always_raises_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the reactor holds at once: each ends in quarantine, and what comes behind is handled."""
    bug = Bug(monkeypatch)
    await world.run(mail)
    bad = [f"bad-{n}" for n in range(4)]
    await world.publish(*[booked(id=id) for id in bad])
    await world.publish(booked(), booked())
    await world.until_settled("mail", "done", "done")
    rows = await world.until_rows(quarantine, 4)
    assert {row["message_id"] for row in rows} == set(bad)
    assert {(row["reason"], row["queue"], row["workspace"]) for row in rows} == {
        ("undeliverable", QUEUE, WORKSPACE)
    }
    assert all("its consumer gave it up" in row["detail"] for row in rows)
    assert bug.raised == dict.fromkeys(bad, TRIES)
    for queue in (QUEUE, f"{QUEUE}.dead"):
        await world.until_empty(queue)


@pytest.mark.usefixtures("hurried")
async def test_what_comes_to_its_end_after_all_is_not_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it raised before counts no more when it comes again."""
    bug = Bug(monkeypatch, times=MOST_GIVEN_BACK)
    await world.run(mail)
    await world.publish(booked(id="bad"))
    await world.until_settled("mail", "done")
    bug.raised.clear()
    await world.publish(booked(id="bad"))
    await world.publish(booked(id="good"))
    await world.until_settled("mail", "done", "done")
    await world.until_empty(QUEUE)
    assert bug.raised == {"bad": MOST_GIVEN_BACK}
    assert await world.rows(quarantine) == []


async def test_what_waits_to_be_given_back_takes_no_turn_from_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as may be handled at once wait, and the next is handled all the same."""
    monkeypatch.setattr(consumer, "AGAIN", 3600.0)
    Bug(monkeypatch)
    await world.run(mail)
    await world.publish(booked(id="bad-1"), booked(id="bad-2"))
    await world.publish(booked())
    await world.until_settled("mail", "done")


def test_what_raises_comes_back_ever_later() -> None:
    """Half a minute in all: a bug that hits every message takes what one holds at a time, no more."""
    assert [pause_before(times) for times in range(1, MOST_GIVEN_BACK + 1)] == [1.0, 2.0, 4.0, 8.0, 16.0]


@pytest.mark.usefixtures("hurried")
async def test_what_can_not_even_be_read_is_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reading it raises stops the consumer of the dead queue no more than that of the queue."""
    admit = Intake.admit

    def raising(intake: Intake, delivery: Any, types: Any) -> Any:
        admitted = admit(intake, delivery, types)
        if isinstance(admitted, Accepted) and admitted.event.id == "bad":
            raise RecursionError("too deep")
        return admitted

    monkeypatch.setattr(Intake, "admit", raising)
    await world.run(mail)
    await world.publish(booked(id="bad"))
    (row,) = await world.until_rows(quarantine, 1)
    assert (row["reason"], row["message_id"], row["workspace"]) == ("undeliverable", "bad", "")
    assert row["detail"].endswith("reading it raised RecursionError: too deep")
    await world.until_empty(f"{QUEUE}.dead")


@pytest.mark.usefixtures("hurried")
async def test_what_is_released_can_be_given_up_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story of its first end does not make its second one a forgery; and mended, it is handled."""
    bug = Bug(monkeypatch)
    rides, mailer = (
        SignedBus(world.bus, Signing("strict", Ring(), lambda key=key: key, None)) for key in (RIDES, MAIL)
    )
    await world.run(mail, bus=mailer)
    desk = QuarantineDesk(world.database, mailer)
    by = {"actor": "ada", "reason": "it is mended"}
    inner, world.bus = world.bus, rides
    await world.publish(_by_rides(booked(id="bad")))
    world.bus = inner
    for times in (1, 2):

        async def held(tries: int = times * TRIES) -> bool:
            rows = await world.rows(quarantine, status="held")
            return bool(rows) and bug.raised["bad"] == tries

        await until(held, lambda: "it to be held")
        (row,) = await world.rows(quarantine)
        assert (row["reason"], row["workspace"]) == ("undeliverable", WORKSPACE)
        assert "its consumer gave it up" in row["detail"]
        assert "sign" not in row["detail"]
        if times == 2:
            bug.times = 0
        await desk.release([WORKSPACE], row["id"], **by)
    await world.until_settled("mail", "done")


def _by_rides(event: Event) -> Event:
    return Event.create(
        event.type,
        event.data,
        id=event.id,
        source="/rides",
        at=1_700_000_000.0,
        workspace=event.workspace,
        correlation=event.correlation,
    )
