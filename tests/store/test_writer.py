"""The group-commit writer alone, on a database that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from contracts.errors import StoreUnavailable
from store.writer import GroupCommit, Writer

T = TypeVar("T")


class Pretend:
    """Keeps what committed transactions wrote; a transaction that raises leaves nothing."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.transactions = 0
        self.at_work = self.most_at_work = 0
        self.gone = False
        self._written: list[int] = []

    async def transact(self, work: Callable[[Connection], T]) -> T:
        self.transactions += 1
        self.at_work += 1
        self.most_at_work = max(self.at_work, self.most_at_work)
        try:
            await asyncio.sleep(0)
            if self.gone:
                raise StoreUnavailable("gone")
            self._written = []
            result = work(cast(Connection, None))  # no await from here on: one at a time
            self.kept += self._written
            return result
        finally:
            self.at_work -= 1

    def write_unless(self, bad: set[int]) -> Callable[[Connection, list[int]], list[int]]:
        def apply(_: Connection, items: list[int]) -> list[int]:
            for item in items:
                if item in bad:
                    raise ValueError(item)
                self._written.append(item)
            return [item * 10 for item in items]

        return apply


def of(group: GroupCommit[int, int], items: range) -> asyncio.Future[list[Any]]:
    return asyncio.gather(*map(group.submit, items), return_exceptions=True)


@given(number=st.integers(1, 60), bad=st.sets(st.integers(0, 59)), most=st.integers(1, 70))
def test_exactly_the_good_are_kept_once_and_in_order(number: int, bad: set[int], most: int) -> None:
    """Whatever items are bad, those fail with their own error and every other one is kept once, in order."""

    async def run() -> None:
        pretend = Pretend()
        group = GroupCommit(Writer(pretend.transact, most=most), pretend.write_unless(bad))
        results = await of(group, range(number))
        assert pretend.kept == [n for n in range(number) if n not in bad]
        for n, result in enumerate(results):
            assert (result.args == (n,)) if n in bad else (result == n * 10)

    asyncio.run(run())


async def test_one_bad_item_of_many_costs_few_transactions() -> None:
    """The bad one is found by halves, not by running each of a thousand alone."""
    pretend = Pretend()
    await of(GroupCommit(Writer(pretend.transact), pretend.write_unless({777})), range(1024))
    assert len(pretend.kept) == 1023
    assert pretend.transactions <= 21


async def test_an_unavailable_database_fails_all_at_once_and_each_for_itself() -> None:
    """Nothing is tried again, since a commit's fate may be unknown, and each submitter has its own error."""
    pretend = Pretend()
    pretend.gone = True
    group = GroupCommit(Writer(pretend.transact), pretend.write_unless(set()))
    errors = await of(group, range(10))
    assert all(isinstance(error, StoreUnavailable) for error in errors)
    assert len({id(error) for error in errors}) == 10
    assert pretend.transactions == 1
    pretend.gone = False
    assert await group.submit(1) == 10


async def test_a_transaction_takes_no_more_than_the_limit() -> None:
    """A backlog is worked off in transactions of a bounded size."""
    pretend = Pretend()
    await of(GroupCommit(Writer(pretend.transact, most=10), pretend.write_unless(set())), range(95))
    assert pretend.transactions == 10
    assert pretend.kept == list(range(95))


@pytest.mark.parametrize("writers", [1, 3])
async def test_so_many_transactions_run_side_by_side(writers: int) -> None:
    """As many as there are writers, never more, and all when there is work for them."""
    pretend = Pretend()
    group = GroupCommit(Writer(pretend.transact, writers=writers, most=5), pretend.write_unless(set()))
    await of(group, range(100))
    assert pretend.most_at_work == writers
    assert sorted(pretend.kept) == list(range(100))


async def test_items_that_come_during_a_commit_share_the_next() -> None:
    """While a transaction is under way, what is submitted gathers for one more."""
    pretend = Pretend()
    group = GroupCommit(Writer(pretend.transact), pretend.write_unless(set()))
    first = asyncio.ensure_future(group.submit(0))
    while not pretend.at_work:
        await asyncio.sleep(0)
    await of(group, range(1, 50))
    assert await first == 0
    assert pretend.transactions == 2
