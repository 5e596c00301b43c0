"""Years in virtual time: a clock that counts seconds in floats is coarser the later it is."""

from __future__ import annotations

import asyncio

from antiphon.testing import TestHouse, in_virtual_time
from tests.simulation.shop import simulation

ORDER = {"order": "order-1", "cents": 1250}


@in_virtual_time
async def test_a_year_and_ten_pass_in_a_house_and_it_goes_on_as_before() -> None:
    """Timers were never due any more once they were as near as the clock is coarse: after some months."""
    async with TestHouse(simulation) as house:
        for number, duration in enumerate(["365d", "3650d"]):
            began = house.now
            await house.advance(duration)
            run = await house.start("order", {**ORDER, "order": f"order-{number}"})
            await run.ended()
            assert run.status == "compensated"
            assert house.now - began >= (365, 3650)[number] * 86400
    await asyncio.sleep(1.0)
