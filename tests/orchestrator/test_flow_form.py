"""A flow as data: what is refused when it is written, its JSON form, and its drawing."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from contracts.errors import InvalidFlow
from contracts.retry import Retry
from orchestrator.catalog import Catalog
from orchestrator.durations import seconds
from orchestrator.flow import Flow
from orchestrator.nodes import Command, Step, When, call, emit, parallel, sleep, step, wait, when
from tests.orchestrator.flows import flow, here, remote, trip, undoable, unwork, work
from tests.orchestrator.random_flows import Writer

FUNCTIONS: dict[str, Callable[..., Any]] = {"work": work, "unwork": unwork}


class Quote(BaseModel):
    """A step's result as a model."""

    total: int


def refused(make: Callable[[], Any], *words: str) -> None:
    """Making it raises InvalidFlow with these words in its message."""
    with pytest.raises(InvalidFlow) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], ["no steps"]),
        ([here("a"), here("a")], ["two nodes called 'a'", "name="]),
        ([here("input")], ["'input' is taken"]),
        ([here("a.b")], ["'a.b' can't be used in a path"]),
        ([here("a", pivot=True), here("b", pivot=True)], ["one pivot", "a, b"]),
        ([parallel([here("a", pivot=True)], [here("b")])], ["one pivot", "outside of branches"]),
        ([when({}, [here("a", pivot=True)])], ["one pivot", "choices"]),
        ([here("a", pivot=True), undoable("b")], ["'b' comes after the pivot"]),
        ([here("a", compensate=Command("x.v1"))], ["'a' runs here", "function"]),
        ([parallel([here("a")])], ["two branches"]),
        ([parallel([here("a")], [])], ["none empty"]),
        ([emit("x.v1", {"n": "$.later.n"}), here("later")], ["$.later.n is read before", "'emit x.v1'"]),
        ([emit("x.v1", {"n": ["$.typo"]})], ["$.typo is read before"]),
        ([emit("x.v1", {}, subject="$.typo")], ["$.typo"]),
        ([sleep("5m", name="nap"), emit("x.v1", {"n": "$.nap.n"})], ["$.nap.n leads nowhere", "sleep"]),
        (
            [parallel([here("a")], [emit("x.v1", {"n": "$.a.n"})])],
            ["$.a.n is read in another branch"],
        ),
        (
            [when({}, [here("a")], [emit("x.v1", {"n": "$.a.n"})])],
            ["$.a.n is read in another branch"],
        ),
        ([Step("a")], ["'a' needs a function"]),
        ([Step("a", run=work, timeout=-1)], ["timeout of 'a'"]),
        ([Step("a", run=work, deadline=0)], ["deadline of 'a'"]),
    ],
)
def test_what_can_t_run_is_refused_with_the_reason(steps: list[Any], words: list[str]) -> None:
    """When it is written, not when it runs."""
    refused(lambda: flow(*steps), *words)


def test_a_flow_s_own_fields_are_checked() -> None:
    """Name, version, result, on_failure."""
    refused(lambda: flow(here("a"), name="No Spaces"), "no name for a flow")
    refused(lambda: flow(here("a"), version=0), "versions begin with 1")
    refused(lambda: flow(here("a"), result={"n": "$.b.n"}), "'result'", "$.b.n")
    refused(lambda: flow(here("a"), on_failure=[here("b")]), "on_failure takes emit()")
    twice = emit("x.v1", {})
    refused(lambda: flow(twice, on_failure=[twice]), "second time", "name=")


def test_what_words_can_t_say_is_refused() -> None:
    """step(), wait(), sleep()."""
    refused(lambda: step("a"), "at= and command=")
    refused(lambda: step(work, at="bank"), "step(work)")
    refused(lambda: step(functools.partial(work)), "has no name")
    refused(lambda: wait("x.v1"), "by=")
    refused(lambda: wait(), "either an event type or signal=")
    refused(lambda: wait("x.v1", by="id", signal="s"), "not both")
    refused(lambda: sleep(0), "positive")
    refused(lambda: sleep("5 parsecs"), "no duration", "10s")


def test_a_catalog_refuses_two_of_a_kind() -> None:
    """The same version twice, or another key."""
    refused(lambda: Catalog([trip(), trip()]), "two flows are called 'trip' v1")
    other = Flow("trip", 2, "ride_id", "f.asked.v1", [here("a")])
    refused(lambda: Catalog([trip(), other]), "different keys")
    assert Catalog([trip(), trip(2)]).find("trip") == Catalog([trip(2)]).find("trip", 2)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("500ms", 0.5), ("10s", 10), ("1h30m", 5400), ("2 d", 172_800), (3, 3), (timedelta(minutes=1), 60)],
)
def test_durations_are_written_as_people_write_them(written: Any, meant: float) -> None:
    """In seconds."""
    assert seconds(written) == meant


def test_the_json_form_is_the_same_model() -> None:
    """Every kind of node, through real JSON and back."""
    made = flow(
        step(work, result=Quote, deadline="1m", retry=Retry(attempts=2)),
        undoable("a"),
        remote("b", compensate=Command("bank.unb.v1", {"total": "$.work.total"})),
        when({"type": "object"}, [here("c")], name="by_schema"),
        when(work, [here("d")], [here("e")], name="by_function"),
        parallel([here("g")], [sleep(5, name="nap")], mode="first"),
        call("child", {"id": "$.input.id"}, version=2),
        here("p", pivot=True),
        wait("x.done.v1", by="id", timeout="2h"),
        wait(signal="go"),
        emit("x.said.v1", {"deep": [{"n": "$.x_done.n"}]}, subject="$.input.id"),
        on_failure=[emit("f.failed.v1", {"why": "$.error.code"})],
        result={"n": "$.work.total"},
    )
    written = orjson.loads(orjson.dumps(made.as_json()))
    read = Flow.from_json(written, FUNCTIONS)
    assert read.as_json() == made.as_json()
    assert read.graph() == made.graph()
    assert read.plan.places.keys() == made.plan.places.keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": [{"step": "a", "run": "gone", "timeout": 1}]}, ["'gone'"]),
        ({"steps": [{"jump": "a"}]}, ["not a node"]),
        ({"steps": [{"step": "a", "run": "work", "timeout": "soon"}]}, ["timeout of 'a'"]),
        ({"steps": [{"parallel": [[], []], "name": "p", "mode": "most"}]}, ["all or first"]),
        ({"version": "one"}, ["JSON form"]),
        ({"steps": None}, ["JSON form"]),
    ],
)
def test_a_json_form_that_can_t_run_is_refused(change: dict[str, Any], words: list[str]) -> None:
    """With the reason, whoever wrote it."""
    written = {**flow(here("a")).as_json(), **change}
    refused(lambda: Flow.from_json(written, FUNCTIONS), *words)


@pytest.mark.parametrize("seed", range(40))
def test_the_drawing_is_what_runs(seed: int) -> None:
    """Each node is drawn once, reached from the start, and leads to the end; edges are the plan's."""
    made = Writer(random.Random(seed)).flow()
    graph = made.graph()
    names = [node.id for node in graph.nodes]
    assert len(names) == len(set(names))
    assert set(made.plan.places) <= set(names)
    ways: dict[str, set[str]] = {}
    back: dict[str, set[str]] = {}
    for edge in graph.edges:
        ways.setdefault(edge.source, set()).add(edge.target)
        back.setdefault(edge.target, set()).add(edge.source)
    assert _reached("(start)", ways) == set(names)
    assert _reached("(end)", back) == set(names)
    for name, place in made.plan.places.items():
        choice = isinstance(place.node, When)  # goes on to one of its heads, or past it where one is empty
        following = {*place.heads, *(() if choice else (place.next,))} - {None}
        drawn = ways[name] | ways.get(f"{name} (join)", set())
        assert following <= drawn


def _reached(begin: str, ways: dict[str, set[str]]) -> set[str]:
    found, waiting = {begin}, [begin]
    while waiting:
        fresh = ways.get(waiting.pop(), set()) - found
        found |= fresh
        waiting += fresh
    return found


def test_an_old_version_does_not_change_with_a_new_one() -> None:
    """Flows are values."""
    assert trip().as_json() != trip(2, more=[here("rate")]).as_json()
    assert trip().as_json() == trip().as_json()
