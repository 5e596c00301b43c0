"""Recorded histories of released versions replay through today's code: runs in flight survive a deploy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
import pytest

from orchestrator.decide import begin
from orchestrator.facts import Fact
from orchestrator.happenings import StartRequested
from tests.orchestrator.pretending import fold, fresh, rules
from tests.orchestrator.recording import FOLDER, MOVES, RELEASED, STORIES, replay

FILES = sorted(FOLDER.glob("*.json"))


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    return document


def test_every_released_version_has_its_histories() -> None:
    """A version without one could change under its runs, and nobody would see it."""
    assert [path.stem for path in FILES] == sorted(
        f"{name}-{story}" for name in RELEASED for story in (*STORIES, *MOVES.get(name, ()))
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_same_happenings_give_the_same_facts(path: Path) -> None:
    """Through ``decide``: new fields may be added to a fact, none may change or go."""
    document = read(path)
    name = "-".join(path.stem.split("-")[:2])
    run, facts = replay(RELEASED[name], document)
    assert [(fact["type"], fact["node"]) for fact in facts] == [
        (fact["type"], fact["node"]) for fact in document["facts"]
    ]
    for now, then in zip(facts, document["facts"], strict=True):
        assert {**now["data"], **then["data"]} == now["data"], now["type"]
    assert run.status == document["status"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_recorded_facts_still_give_the_state(path: Path) -> None:
    """Through ``evolve``: what stands in the journal of an older release is understood."""
    document = read(path)
    name = "-".join(path.stem.split("-")[:2])
    start = StartRequested(**{**document["start"], "early": ()})
    origin = fresh(begin(RELEASED[name], start, now=document["began"], rules=rules()).run)
    folded = fold(origin, [Fact(**fact) for fact in document["facts"]])
    assert folded == replay(RELEASED[name], document)[0]
    assert folded.status == document["status"]


def test_a_change_in_place_would_be_found() -> None:
    """The replay itself works: a step that is taken out changes the facts."""
    document = read(FOLDER / "trip-v1-completed.json")
    changed = dataclasses.replace(RELEASED["trip-v1"], steps=RELEASED["trip-v1"].steps[1:], result=None)
    _, facts = replay(changed, document)
    assert [fact["type"] for fact in facts] != [fact["type"] for fact in document["facts"]]


def test_a_run_that_was_moved_replays_through_both_versions() -> None:
    """It began as the first, and ended as the second said."""
    run, facts = replay(RELEASED["trip-v1"], read(FOLDER / "trip-v1-moved.json"))
    types = [fact["type"] for fact in facts]
    assert (run.version, run.status, run.result) == (2, "completed", {"did": "quote"})
    assert types.index("migration_refused") < types.index("run_migrated")
    assert [fact["node"] for fact in facts if fact["type"] == "event_emitted"][-1] == "emit trip.said.v1"
