"""What may wait for others goes on with them, and never waits for those that do not come."""

from __future__ import annotations

import asyncio

import pytest

from reactors.company import Company

LONG = 3_600.0


async def waiting(company: Company, number: int) -> list[asyncio.Task[None]]:
    """So many who wait, begun."""
    tasks = [asyncio.create_task(company.wait()) for _ in range(number)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_as_many_as_there_is_room_for_go_on_together_and_the_next_begin_anew() -> None:
    """The last one lets the others go."""
    company = Company(3, LONG)
    for _ in range(2):
        first = await waiting(company, 2)
        assert not any(task.done() for task in first)
        await company.wait()
        await asyncio.gather(*first)
    left = await waiting(company, 1)
    assert not left[0].done()
    left[0].cancel()


async def test_who_is_alone_goes_on_after_a_while() -> None:
    """And a timer of those before does not end the wait of those after."""
    company = Company(2, 0.05)
    await asyncio.wait_for(company.wait(), 20)
    pair = await waiting(company, 2)
    await asyncio.gather(*pair)
    company._seconds = LONG
    late = await waiting(company, 1)
    await asyncio.sleep(0.1)
    assert not late[0].done()
    late[0].cancel()


async def test_without_room_for_two_nobody_waits() -> None:
    """A reactor that handles one message at a time is not slowed down."""
    with pytest.raises(StopIteration):
        Company(1, LONG).wait().send(None)


async def test_one_that_is_cancelled_takes_nobody_with_it() -> None:
    """The others go on when it is time."""
    company = Company(4, LONG)
    one, *others = await waiting(company, 3)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    assert not any(task.done() for task in others)
    await company.wait()
    await asyncio.gather(*others)
