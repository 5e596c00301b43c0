"""Starts that share a message: which do, how many, and that each is read as it was asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.envelope import event_of, message_of
from bus.port import Outgoing
from contracts.envelope import Event
from contracts.errors import BusUnavailable, MalformedMessage, PublishFailed
from orchestrator import wire
from orchestrator.happenings import StartRequested
from orchestrator.start_messages import parts_of, starts_event, written
from orchestrator.starts import Starts

KIB = 1024


def asked(number: int = 0, **changes: Any) -> StartRequested:
    """A start of its own."""
    given: dict[str, Any] = {
        "message_id": f"s{number}",
        "run_id": f"r{number}",
        "partition": 0,
        "workspace": "acme",
        "flow": "f",
        "version": 1,
        "key": f"k{number}",
        "input": {"id": f"k{number}"},
        "input_digest": "d",
        "correlation": f"story {number}",
    }
    return StartRequested(**{**given, **changes})


def events_of(starts: list[StartRequested], at: float = 1.0) -> list[tuple[Event, int]]:
    """The events that hold them."""
    texts = [written(one) for one in starts]
    parts = [(starts[part], texts[part]) for part in parts_of(texts)]
    return [(starts_event(some, said, at), len(some)) for some, said in parts]


def read(out: Outgoing) -> list[StartRequested]:
    """What the owner of the partition reads."""
    read = wire.read(event_of(out.message), int(out.routing_key))
    assert all(isinstance(asked, StartRequested) and asked.run_id == run_id for run_id, asked in read)
    return [asked for _, asked in read if isinstance(asked, StartRequested)]


_maybe = st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
_starts = st.lists(
    st.builds(
        lambda number, key, causation, trace, answer_to, parent, data: asked(
            number,
            partition=7,
            key=key,
            causation=causation,
            traceparent=trace,
            answer_to=answer_to,
            parent=parent,
            input=data,
        ),
        st.integers(0, 10_000),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
        _maybe,
        _maybe,
        _maybe,
        st.none() | st.just({"run_id": "p", "node": "n", "partition": 3}),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=200,
)


@given(_starts)
def test_what_is_read_is_what_was_asked_for(starts: list[StartRequested]) -> None:
    """Each in its place, alone or in company, with all that it says."""
    made = events_of(starts)
    assert [start for event, _ in made for start in read(wire.to_partition(7, event))] == starts
    assert [count for _, count in made] == [len(read(wire.to_partition(7, event))) for event, _ in made]


def test_a_message_holds_64_starts_or_256_kib() -> None:
    """A big one does not travel with others, and one that is alone is a start like before."""
    many = events_of([asked(n) for n in range(150)])
    assert [count for _, count in many] == [64, 64, 22]
    third = {"id": "k", "x": "x" * (90 * KIB)}
    big = events_of([asked(n, input=third) for n in range(5)])
    assert [count for _, count in big] == [2, 2, 1]
    assert all(len(event.body) <= 256 * KIB for event, _ in big)
    assert [event.type for event, _ in big] == ["antiphon.starts.v1"] * 2 + ["antiphon.start.v1"]
    huge = {"id": "k", "x": "x" * (400 * KIB)}
    around = events_of([asked(0), asked(1), asked(2, input=huge), asked(3), asked(4)])
    assert [count for _, count in around] == [2, 1, 2]


def test_the_same_starts_are_the_same_message() -> None:
    """Its id comes from theirs."""
    same = {events_of([asked(1), asked(2)], at)[0][0].id for at in (1.0, 2.0)}
    others = {events_of([asked(1), asked(n)])[0][0].id for n in (3, 4)}
    assert len(same) == 1
    assert len(same | others) == 3


def test_a_message_with_one_start_that_is_none_is_read_by_nobody() -> None:
    """It is quarantined as a whole, with the place of what is wrong."""
    ((event, _),) = events_of([asked(1), asked(2, key="")])
    with pytest.raises(MalformedMessage, match="at /starts/1/key"):
        wire.read(event_of(message_of(event)), 0)


class Recorder:
    """A bus that keeps what is published. Messages to ``refused`` partitions are not confirmed."""

    def __init__(self, *refused: str) -> None:
        self.sent: list[Outgoing] = []
        self.refused = refused
        self.confirm = asyncio.Event()
        self.confirm.set()

    async def publish(self, *outgoing: Outgoing, timeout: float | None = None) -> None:
        self.sent.extend(outgoing)
        await self.confirm.wait()
        if outgoing[0].routing_key in self.refused:
            raise PublishFailed({0: BusUnavailable("not there")})


def starts_on(bus: Recorder) -> Starts:
    """What hands starts to this bus."""
    given: Any = bus
    return Starts(given, lambda: 1.0)


async def test_one_moment_is_one_message_for_each_partition_and_workspace() -> None:
    """In the order in which they were asked for; and who asks alone waits for nobody."""
    bus = Recorder()
    starts = starts_on(bus)
    many = [asked(n, partition=n % 2, workspace=("acme", "other")[n % 3 == 0]) for n in range(24)]
    await asyncio.gather(*map(starts.publish, many))
    assert len(bus.sent) == 4
    for out in bus.sent:
        wanted = read(out)
        assert len({start.workspace for start in wanted}) == 1
        assert wanted == [
            start
            for start in many
            if (str(start.partition), start.workspace) == (out.routing_key, wanted[0].workspace)
        ]
    await starts.publish(asked(99))
    assert read(bus.sent[4]) == [asked(99)]
    assert event_of(bus.sent[4].message).type == "antiphon.start.v1"


async def test_each_hears_of_what_became_of_its_own_message() -> None:
    """One partition's queue does not confirm: its askers are told so, each by an error of its own."""
    starts = starts_on(Recorder("1"))
    many = [asked(n, partition=n % 2) for n in range(6)]
    outcomes = await asyncio.gather(*map(starts.publish, many), return_exceptions=True)
    failed = [outcome for outcome in outcomes if outcome is not None]
    assert [outcome is None for outcome in outcomes] == [True, False] * 3
    assert all(isinstance(error, PublishFailed) and 0 in error.errors for error in failed)
    assert len({id(error) for error in failed}) == 3


async def test_what_no_json_holds_is_the_trouble_of_who_said_it() -> None:
    """Half a character in one of them: the others are on their way."""
    bus = Recorder()
    starts = starts_on(bus)
    many = [asked(1), asked(2, correlation="\ud800"), asked(3)]
    outcomes = await asyncio.gather(*map(starts.publish, many), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), TypeError, type(None)]
    assert read(bus.sent[0]) == [many[0], many[2]]


async def test_who_gives_up_takes_nobody_along() -> None:
    """Before it is sent it is not sent; afterwards it is, and the others hear of it."""
    bus = Recorder()
    bus.confirm.clear()
    starts = starts_on(bus)
    early, late, stays = (asyncio.create_task(starts.publish(asked(n))) for n in range(3))
    await asyncio.sleep(0)
    early.cancel()
    async with asyncio.timeout(10):
        while not bus.sent:
            await asyncio.sleep(0)
    late.cancel()
    await asyncio.wait([early, late])
    bus.confirm.set()
    await stays
    assert early.cancelled()
    assert late.cancelled()
    assert read(bus.sent[0]) == [asked(1), asked(2)]
