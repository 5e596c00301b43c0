"""The live port's promises, held by both adapters."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from contracts.errors import ConfigurationError, FeedTrimmed, LiveUnavailable
from store.live.port import Entry, Follower, Live
from store.live.ring import as_place


async def take(follower: Follower, number: int) -> list[bytes]:
    async with asyncio.timeout(10):
        return [(await anext(follower))[1] for _ in range(number)]


async def fill(live: Live, feed: str, number: int, *, keep: int = 10_000) -> list[str]:
    return await live.append(feed, *(b"%d" % n for n in range(number)), keep=keep)


async def test_a_feed_gives_back_its_entries_in_order_with_growing_ids(live: Live, name: str) -> None:
    """What was appended, in one call or several, is read in that order, and its ids grow."""
    first = await live.append(name, b"a", b"\x00\xff")
    second = await live.append(name, b"c")
    entries = await live.read(name, None)
    assert entries == list(zip(first + second, [b"a", b"\x00\xff", b"c"], strict=True))
    assert all((as_place(one) or (0, 0)) < (as_place(two) or (0, 0)) for one, two in pairwise(first + second))


async def test_a_feed_is_read_in_pages_from_a_place(live: Live, name: str) -> None:
    """Reading on from the last id of a page gives the next page, and an empty one at the end."""
    ids = await fill(live, name, 250)
    seen: list[Entry] = []
    pages = 0
    while page := await live.read(name, seen[-1][0] if seen else None, most=100):
        seen += page
        pages += 1
    assert [id for id, _ in seen] == ids
    assert pages == 3


async def test_an_empty_feed_has_no_entries(live: Live, name: str) -> None:
    """A feed that nobody wrote to is empty, and no error."""
    assert await live.read(name, None) == []
    assert await live.append(name) == []
    assert await live.read(name, None) == []


async def test_a_feed_keeps_the_newest_and_says_when_a_place_is_gone(live: Live, name: str) -> None:
    """Old entries go, at least the newest ``keep`` stay, and a place among the old is refused."""
    ids = await fill(live, name, 1000, keep=100)
    kept = await live.read(name, None, most=2000)
    assert 100 <= len(kept) < 1000
    assert [id for id, _ in kept] == ids[-len(kept) :]
    with pytest.raises(FeedTrimmed):
        await live.read(name, ids[0])
    assert (await live.read(name, ids[-2]))[0][0] == ids[-1]


@pytest.mark.parametrize("place", ["", "x", "1-2", "0-0", "-", "1-1; FLUSHALL", "9" * 30 + "-1", "١-١"])
async def test_a_place_that_is_no_id_of_the_feed_is_refused(live: Live, name: str, place: str) -> None:
    """An id that the feed never gave is answered like one that is gone."""
    await live.append(name, b"a")
    with pytest.raises(FeedTrimmed):
        await live.read(name, place)


async def test_a_place_in_a_feed_that_is_gone_is_refused(live: Live, name: str) -> None:
    """After the loss of the whole feed, a reader is told."""
    (id,) = await live.append(name, b"a")
    with pytest.raises(FeedTrimmed):
        await live.read(name + "-lost", id)


async def test_a_follower_sees_only_what_is_new(live: Live, name: str) -> None:
    """From "$", what was there before it opened is not seen, and everything after is."""
    await live.append(name, b"old")
    async with live.follow(name) as follower:
        await live.append(name, b"1", b"2")
        await live.append(name, b"3")
        assert await take(follower, 3) == [b"1", b"2", b"3"]


async def test_a_follower_waits_for_entries(live: Live, name: str) -> None:
    """A follower of an empty feed gets an entry that is appended while it waits."""
    async with live.follow(name) as follower:
        waiting = asyncio.ensure_future(take(follower, 1))
        await asyncio.sleep(0.05)
        await live.append(name, b"1")
        assert await waiting == [b"1"]


@pytest.mark.parametrize("behind", [1, 150, 1499])
async def test_a_follower_replays_from_its_place_and_goes_on(live: Live, name: str, behind: int) -> None:
    """From an id, everything behind it is seen once, in order, and then what is new."""
    ids = await fill(live, name, 1500)
    async with live.follow(name, ids[-behind - 1]) as follower:
        assert await take(follower, behind) == [b"%d" % n for n in range(1500 - behind, 1500)]
        await live.append(name, b"new")
        assert await take(follower, 1) == [b"new"]


async def test_a_follower_from_the_beginning_sees_all(live: Live, name: str) -> None:
    """From None, a follower begins with the oldest entry that is kept."""
    await fill(live, name, 3)
    async with live.follow(name, None) as follower:
        assert await take(follower, 3) == [b"0", b"1", b"2"]
        await live.append(name, b"3")
        assert await take(follower, 1) == [b"3"]


async def test_followers_from_a_lost_place_are_told(live: Live, name: str) -> None:
    """An id that is no longer kept, or never was one, is refused with the first entry asked for."""
    ids = await fill(live, name, 1000, keep=100)
    for place in (ids[0], "nonsense", "12-0"):
        with pytest.raises(FeedTrimmed):
            await take(live.follow(name, place), 1)


async def test_many_followers_of_many_feeds_each_see_their_own(live: Live, name: str) -> None:
    """Every follower sees each entry of its feed once, in order, and none of another feed."""
    feeds = [f"{name}-{n}" for n in range(5)]
    followers = [(feed, live.follow(feed)) for feed in feeds for _ in range(10)]
    await asyncio.gather(*(follower.opened() for _, follower in followers))

    async def write(feed: str) -> None:
        for n in range(20):
            await live.append(feed, f"{feed} {n}".encode())

    _, *seen = await asyncio.gather(
        asyncio.gather(*map(write, feeds)), *(take(follower, 20) for _, follower in followers)
    )
    for (feed, _), entries in zip(followers, seen, strict=True):
        assert entries == [f"{feed} {n}".encode() for n in range(20)]


async def test_a_slow_follower_from_a_place_is_told_what_it_missed(live: Live, name: str) -> None:
    """One that fell behind what is kept gets FeedTrimmed after the page it holds, not a gap."""
    (id,) = await live.append(name, b"start")
    follower = live.follow(name, id)
    await live.append(name, b"seen")
    assert await take(follower, 1) == [b"seen"]
    for _ in range(5):
        await fill(live, name, 1000, keep=100)
    await asyncio.sleep(0.05)
    with pytest.raises(FeedTrimmed):
        await take(follower, 5000)


async def test_a_slow_follower_of_what_is_new_goes_on(live: Live, name: str) -> None:
    """One that follows from "$" skips what is gone, and reaches the newest entry."""
    async with live.follow(name) as follower:
        for _ in range(5):
            await fill(live, name, 1000, keep=100)
        await live.append(name, b"last", keep=100)
        async with asyncio.timeout(10):
            places = []
            async for id, data in follower:
                places.append(as_place(id) or (0, 0))
                if data == b"last":
                    break
        assert places == sorted(set(places))


async def test_waiting_for_an_entry_may_be_given_up_and_taken_up_again(live: Live, name: str) -> None:
    """A wait that was cancelled loses nothing: the next one gets the entry."""
    async with live.follow(name) as follower:
        for n in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await anext(follower)
            await live.append(name, b"%d" % n)
            assert await take(follower, 1) == [b"%d" % n]


async def test_closing_ends_followers(live: Live, name: str) -> None:
    """A follower ends when it is closed, and when its store is; what waits in it is not left hanging."""
    one, other = live.follow(name), live.follow(name)
    await one.opened()
    await other.opened()
    first = asyncio.ensure_future(anext(one, None))
    second = asyncio.ensure_future(anext(other, None))
    await asyncio.sleep(0.02)
    await one.aclose()
    async with asyncio.timeout(5):
        assert await first is None
        assert not second.done()
        await live.close()
        assert await second is None
        assert await anext(live.follow(name), None) is None
    with pytest.raises(LiveUnavailable):
        await live.append(name, b"late")


async def test_a_bucket_gives_its_burst_then_says_how_long_to_wait(live: Live, name: str) -> None:
    """``burst`` tokens are there at once; the next is named with the seconds until it is."""
    for _ in range(3):
        assert await live.allow(name, rate=0.1, burst=3) == 0.0
    wait = await live.allow(name, rate=0.1, burst=3)
    assert 0 < wait <= 10.0
    assert await live.allow(name + "-other", rate=0.1, burst=3) == 0.0


async def test_a_bucket_fills_again(live: Live, name: str) -> None:
    """After the time that was named there is a token, and refusals cost nothing."""
    assert await live.allow(name, rate=20, burst=1) == 0.0
    wait = await live.allow(name, rate=20, burst=1)
    assert wait > 0
    await asyncio.sleep(wait + 0.01)
    assert await live.allow(name, rate=20, burst=1) == 0.0


async def test_a_bucket_is_never_overdrawn_by_concurrent_callers(live: Live, name: str) -> None:
    """However many ask at the same moment, only ``burst`` are allowed."""
    waits = await asyncio.gather(*(live.allow(name, rate=0.001, burst=10) for _ in range(50)))
    assert sum(wait == 0.0 for wait in waits) == 10


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0.5), (float("nan"), 1)])
async def test_a_bucket_that_could_never_give_is_refused(live: Live, rate: float, burst: float) -> None:
    """A rate or burst that makes no sense is a mistake in the settings, and is said."""
    with pytest.raises(ConfigurationError):
        await live.allow("never", rate=rate, burst=burst)


async def test_a_key_keeps_its_bytes(live: Live, name: str) -> None:
    """A value comes back as it was; a key that was never set has none."""
    assert await live.get(name) is None
    await live.put(name, b"\x00one")
    assert await live.get(name) == b"\x00one"
    await live.put(name, b"")
    assert await live.get(name) == b""


async def test_a_key_expires(live: Live, name: str) -> None:
    """After its time to live a value is gone, however it was set."""
    await live.put(name, b"short", ttl=0.05)
    assert await live.replace(name + "-2", None, b"short", ttl=0.05)
    assert await live.get(name) == b"short"
    await asyncio.sleep(0.1)
    assert await live.get(name) is None
    assert await live.get(name + "-2") is None
    assert await live.replace(name, None, b"again")


async def test_replace_sets_only_what_is_as_expected(live: Live, name: str) -> None:
    """Compare-and-set: another value than the expected one is left alone."""
    assert not await live.replace(name, b"x", b"1")
    assert await live.replace(name, None, b"1")
    assert not await live.replace(name, None, b"2")
    assert not await live.replace(name, b"0", b"2")
    assert await live.get(name) == b"1"
    assert await live.replace(name, b"1", b"")
    assert await live.replace(name, b"", b"3")
    assert await live.get(name) == b"3"


async def test_of_many_who_replace_one_wins(live: Live, name: str) -> None:
    """Of concurrent replacements of the same value exactly one is done."""
    await live.put(name, b"old")
    won = await asyncio.gather(*(live.replace(name, b"old", b"%d" % n) for n in range(20)))
    assert sum(won) == 1
    assert await live.get(name) == b"%d" % won.index(True)


async def test_it_answers(live: Live) -> None:
    """A store that is there answers a ping."""
    await live.ping()


class _Later:
    """An entry that says when it was asked for its bytes."""

    def __init__(self) -> None:
        self.asked = 0

    def __bytes__(self) -> bytes:
        self.asked += 1
        return b"%d" % self.asked


async def test_an_entry_may_give_its_bytes_later(live: Live, name: str) -> None:
    """Readers and followers get bytes, whatever was appended; the others of the call keep their order."""
    async with live.follow(name) as follower:
        await live.append(name, b"a", _Later(), b"c")
        entries = [data for _, data in await live.read(name, None)]
        assert entries == [b"a", b"1", b"c"]
        assert all(type(data) is bytes for data in [*entries, *await take(follower, 3)])
