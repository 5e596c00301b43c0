"""Each handler is claimed when its own time is up, and none that has ended."""

from __future__ import annotations

import asyncio

from bus.envelope import message_of
from reactors.claims import Claim, Claimed, Key, Verdict
from reactors.late_claims import LateClaims
from reactors.letter import Letter
from tests.reactors.world import booked

AFTER = 0.2


class Asked:
    """An inbox that gives every claim, and says which were asked for."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.late = LateClaims(self.claim, AFTER)

    async def claim(self, claim: Claim) -> Verdict:
        self.claims.append(claim)
        return Claimed(1, 1, 0, 0.0)

    def begin(self, name: str) -> Claim:
        event = booked(id=name)
        claim = Claim(Key("count", event.source, name), Letter("count", "q", event, message_of(event)))
        self.late.begin(claim)
        return claim

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(20):
            while [claim.key.event_id for claim in self.claims] != list(names):
                await asyncio.sleep(0.005)


async def test_each_has_its_own_time_and_those_that_ended_are_left_out() -> None:
    """The timer that the first one set finds the others too young, and comes again for them."""
    asked = Asked()
    assert asked.late.end(asked.begin("quick")) is None
    await asyncio.sleep(AFTER / 2)
    slow = asked.begin("slow")
    assert asked.late.end(asked.begin("other")) is None
    await asked.until("slow")
    await asyncio.sleep(AFTER)
    assert [claim.key for claim in asked.claims] == [slow.key]
    assert asked.claims[0].began >= AFTER - 0.001  # what floats lose
    late = asked.late.end(slow)
    assert late is not None
    assert await late == Claimed(1, 1, 0, 0.0)


async def test_one_is_claimed_once_and_those_after_it_again() -> None:
    """Also when nothing was at work for a while."""
    asked = Asked()
    for name in ("one", "two"):
        claim = asked.begin(name)
        await asked.until(*["one", "two"][: len(asked.claims) + 1])
        await asyncio.sleep(AFTER * 1.5)
        assert asked.late.end(claim) is not None
        assert asked.late.end(claim) is None
        await asyncio.sleep(AFTER * 1.5)
    assert len(asked.claims) == 2
