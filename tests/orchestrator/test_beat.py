"""The beat: partitions that take their turns together, and none that holds up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from orchestrator.beat import Beat, Share

Act = Callable[[Share], Awaitable[None]]


class Band:
    """Partitions that note what they do."""

    def __init__(self) -> None:
        self.beat = Beat()
        self.notes: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.asked = asyncio.Event()

    async def ask(self, share: Share) -> None:
        """Wait for an answer before deciding."""
        await self.asked.wait()

    def play(self, name: str, act: Act | None = None, commit: asyncio.Event | None = None) -> None:
        """Take one turn: come, think, decide, commit, which may take until ``commit`` is set."""

        async def turn() -> None:
            async with self.beat.join() as share:
                self.notes.append(f"{name} comes")
                if act is not None:
                    await act(share)
                await share.decided()
                self.notes.append(f"{name} commits")
                if commit is not None:
                    await commit.wait()
                    self.notes.append(f"{name} has committed")

        self.tasks[name] = asyncio.create_task(turn())

    async def rest(self) -> None:
        """Until nothing moves any more."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def band() -> Band:
    return Band()


async def test_a_turn_alone_is_at_once(band: Band) -> None:
    """Nobody else is waited for."""
    band.play("a")
    await band.tasks["a"]
    assert band.notes == ["a comes", "a commits"]


async def test_those_who_come_together_commit_together(band: Band) -> None:
    """Who decides at once waits for who must ask first."""
    band.play("a")
    band.play("b", band.ask)
    await band.rest()
    assert band.notes == ["a comes", "b comes"]
    band.asked.set()
    await band.rest()
    assert sorted(band.notes[2:]) == ["a commits", "b commits"]


async def test_who_comes_late_is_in_the_next(band: Band) -> None:
    """And it begins when everybody of this one has decided."""
    band.play("a", band.ask)
    await band.rest()
    band.play("b")
    band.play("c")
    await band.rest()
    assert band.notes == ["a comes"]
    band.asked.set()
    await band.rest()
    assert band.notes[:4] == ["a comes", "a commits", "b comes", "c comes"]
    assert sorted(band.notes[4:]) == ["b commits", "c commits"]


async def test_the_next_beat_does_not_wait_for_the_store(band: Band) -> None:
    """Others decide while a commit is under way."""
    committed = asyncio.Event()
    band.play("a", commit=committed)
    await band.rest()
    band.play("b")
    band.play("c")
    await band.rest()
    assert band.notes[:4] == ["a comes", "a commits", "b comes", "c comes"]
    assert sorted(band.notes[4:]) == ["b commits", "c commits"]
    committed.set()
    await band.tasks["a"]
    assert band.notes[-1] == "a has committed"


@pytest.mark.parametrize("how", ["leaves", "raises", "is cancelled"])
async def test_who_is_held_up_holds_up_nobody(band: Band, how: str) -> None:
    """Neither those who wait for it to decide, nor those who wait for the next beat."""
    for_ever = asyncio.Event()

    async def be_held_up(share: Share) -> None:
        if how == "raises":
            raise ValueError("no")
        if how == "leaves":
            share.leave()
        await for_ever.wait()

    band.play("a")
    band.play("b", be_held_up)
    await band.rest()
    if how == "is cancelled":
        assert band.notes == ["a comes", "b comes"]
        band.tasks["b"].cancel()
        await band.rest()
    assert band.notes == ["a comes", "b comes", "a commits"]
    band.play("c")
    await band.tasks["c"]
    assert band.notes[3:] == ["c comes", "c commits"]
    band.tasks["b"].cancel()
    await asyncio.wait([band.tasks["b"]])


async def test_who_left_may_still_decide(band: Band) -> None:
    """It commits when it can, beside the beat, and is not counted twice."""

    async def leave(share: Share) -> None:
        share.leave()
        share.leave()

    band.play("a", leave)
    await band.tasks["a"]
    band.play("b")
    band.play("c")
    await asyncio.gather(band.tasks["b"], band.tasks["c"])
    assert band.notes[:2] == ["a comes", "a commits"]
    assert sorted(band.notes[2:]) == ["b comes", "b commits", "c comes", "c commits"]


async def test_who_gives_up_waiting_is_not_waited_for(band: Band) -> None:
    """Cancelled before the beat, or in the very moment in which it begins."""
    band.play("a", band.ask)
    await band.rest()
    band.play("b")
    band.play("c")
    await band.rest()
    band.tasks["b"].cancel()
    band.asked.set()
    await band.tasks["a"]
    while not band.beat._deciding:  # the next beat has been called
        await asyncio.sleep(0)
    band.tasks["c"].cancel()
    await band.rest()
    band.play("d")
    await band.tasks["d"]
    assert band.notes[-2:] == ["d comes", "d commits"]


async def test_who_gives_up_as_the_beat_begins_ends_as_cancelled(band: Band) -> None:
    """The beat has passed it over before it notices, and the next one comes."""
    band.play("a")
    await asyncio.sleep(0)  # it waits, and the beat is called
    band.tasks["a"].cancel()
    await asyncio.wait([band.tasks["a"]])
    assert band.tasks["a"].cancelled()
    band.play("b")
    await band.tasks["b"]
    assert band.notes == ["b comes", "b commits"]
