"""What people ask of the house, whatever happens to it meanwhile: customers, and an operator behind them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.crash.lives import House

__all__ = ["Answers", "visit", "visit_the_archive", "visit_the_slow"]

# Seconds after which the embedded bus has written down that it handed a message out, which takes a twentieth.
# An operator who discards it sooner, before a crash, sees it once more (docs/security.md).
_COUNTED = 0.1


@dataclass
class Answers:
    """What was answered with a 2xx, so that it must hold."""

    runs: dict[tuple[str, str], str] = field(default_factory=dict)  # (flow, key) -> id
    events: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)  # idempotency keys of starts that nobody had taken up
    settled: dict[str, str] = field(default_factory=dict)  # a dead letter or a message -> how


def visit(house: House, *, settled: Callable[[], bool], newer: bool = False, unfit: bool = False) -> Answers:
    """All of it, until everything that was asked for has come to its end; ``settled``: every reaction has."""
    answers = Answers()
    starts = [("order", "good-1"), ("order", "bad-1"), ("hold", "sig-1"), ("hold", "cancel-1")]
    for flow, key in starts:
        _start(house, answers, flow, key)
    if newer:
        _start(house, answers, "newer", "newer-1")
        house.stop(again=True)  # deploy: the next life knows the flow
    if unfit:
        _start(house, answers, "order", "unfit")
    _publish(house, answers, "e-early", "order.confirmed.v1", {"id": "good-1"})
    _publish(house, answers, "e-nobody", "order.confirmed.v1", {})
    _publish(house, answers, "e-stray", "order.placed.v1", {"id": "stray-1"})
    _signal(house, answers.runs["hold", "sig-1"])
    _cancel(house, answers.runs["hold", "cancel-1"])
    _keys(house, answers)
    _dead_letters(house, answers)
    _quarantine(house, answers, held=3 if unfit else 2)
    for (_, key), run_id in answers.runs.items():
        if key != "unfit":
            _until(house, lambda run_id=run_id: _ended(house, run_id), f"{key} to end")
    _until(house, lambda: _nothing_waits(house), "queues and outbox to run empty")
    # One whose first process died in it waits until that is certain, on no queue that the metrics count.
    _until(house, settled, "every reaction to be settled")
    return answers


def visit_the_slow(house: House, answers: Answers) -> None:
    """A reaction is at work when the process must go, is given back, and ends in another."""
    _publish(house, answers, "e-slow", "order.slowed.v1", {"id": "slow-1"})
    calls = house.folder / "calls.jsonl"
    _until(house, lambda: calls.read_text().count('"slow"') >= 1, "the slow reaction to begin")
    house.stop(again=True)
    (house.folder / "hurried").touch()
    _until(house, lambda: calls.read_text().count('"slow"') >= 2, "the slow reaction to begin again")


def visit_the_archive(house: House) -> None:
    """What has ended is old now, and leaves for the archive."""
    house.retention = "10ms"
    house.begin()
    _until(house, lambda: not house.ask("GET", "/runs").json()["items"], "the runs to go")
    kinds = {"run", "event", "dead_letter", "early_event"}
    files = house.folder.joinpath("archive")
    _until(house, lambda: kinds <= {path.name.split("-")[0] for path in files.rglob("*.jsonl")}, "the rest")
    house.stop()


def _start(house: House, answers: Answers, flow: str, key: str) -> None:
    first = house.ask("POST", f"/flows/{flow}/runs", {"id": key}, key=f"start {key}")
    again = house.ask("POST", f"/flows/{flow}/runs", {"id": key}, key=f"start {key}")
    if first.json()["status"] != "accepted":
        assert again.headers["idempotency-replayed"] == "true"
        assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.json()["id"] == again.json()["id"]
    if again.json()["status"] == "accepted":
        answers.accepted.add(f"client:start {key}")
    answers.runs[flow, key] = first.json()["id"]


def _publish(house: House, answers: Answers, key: str, type: str, data: dict[str, str]) -> None:
    first = house.ask("POST", "/events", {"type": type, "data": data}, key=key)
    again = house.ask("POST", "/events", {"type": type, "data": data}, key=key)
    assert first.json() == again.json()
    answers.events.append(first.json())


def _signal(house: House, run_id: str) -> None:
    path = f"/runs/{run_id}/signals/go"
    _until(house, lambda: house.ask("GET", f"/runs/{run_id}").json()["status"] != "accepted", "the start")
    house.ask("POST", path, {"by": "ann"}, key="go sig-1", accept=(409,))
    _until(house, lambda: _ended(house, run_id), "the signalled run to end")
    again = house.ask("POST", path, {"by": "ann"}, key="go sig-1", accept=(409,))
    assert again.status_code == 202
    for by in ("bob", "eve"):  # too late; and the key is free again for another request
        assert house.ask("POST", path, {"by": by}, key="late sig-1", accept=(409,)).status_code == 409


def _cancel(house: House, run_id: str) -> None:
    _until(
        house, lambda: "go" in (house.ask("GET", f"/runs/{run_id}").json().get("waiting") or ""), "it to wait"
    )
    house.ask("POST", f"/runs/{run_id}/cancel", {"reason": "a test"}, accept=(409,))


def _keys(house: House, answers: Answers) -> None:
    made = house.ask("POST", "/keys", {"role": "viewer", "name": "a guest"}).json()
    listed = {key["id"] for key in house.ask("GET", "/keys").json()["items"]}
    assert made["id"] in listed
    house.ask("DELETE", f"/keys/{made['id']}")
    answers.keys.append(made["id"])


def _dead_letters(house: House, answers: Answers) -> None:
    """Two letters of one reactor: the one is discarded; the reactor is mended, the other is redriven."""
    letters = _until(house, lambda: _letters(house, 2), "two dead letters")
    published = {event["id"] for event in answers.events}
    (stray,) = [letter for letter in letters if letter["event_id"] in published]
    (order,) = [letter for letter in letters if letter is not stray]
    house.ask("POST", f"/dead-letters/{stray['id']}/discard", {"reason": "a test"}, accept=(409,))
    answers.settled[stray["id"]] = "discarded"
    (house.folder / "mended").touch()
    house.ask("POST", f"/dead-letters/{order['id']}/redrive", {"reason": "mended"}, accept=(409,))
    answers.settled[order["id"]] = "redriven"


def _letters(house: House, count: int) -> list[dict[str, Any]] | None:
    found = house.ask("GET", "/dead-letters?status=all").json()["items"]
    assert len(found) <= count, f"{len(found)} dead letters: {found}"
    return found if len(found) == count else None


def _quarantine(house: House, answers: Answers, held: int) -> None:
    """What can't be correlated is released, and refused again; then all of it is discarded."""
    items = _until(house, lambda: _held(house, held), "what was refused")
    for one in items:
        path = f"/quarantine/{one['id']}"
        if one["queue"] == "orchestrator.events":
            house.ask("POST", f"{path}/release", {"reason": "try again"})
            _until(
                house, lambda path=path: house.ask("GET", path).json()["status"] == "held", "it to be held"
            )
    time.sleep(_COUNTED)
    for one in items:
        path = f"/quarantine/{one['id']}"
        house.ask("POST", f"{path}/discard", {"reason": "a test"}, accept=(409,))
        answers.settled[one["id"]] = "discarded"


def _held(house: House, count: int) -> list[dict[str, Any]] | None:
    found = house.ask("GET", "/quarantine?status=all").json()["items"]
    assert len(found) <= count, found
    return found if len(found) == count else None


def _ended(house: House, run_id: str) -> bool:
    return house.ask("GET", f"/runs/{run_id}").json()["status"] in _ENDINGS


_ENDINGS = ("completed", "compensated", "failed", "cancelled")


def _nothing_waits(house: House) -> bool:
    """By the metrics: nothing on any queue, nothing in the outbox."""
    lines = house.ask("GET", "/metrics").text.splitlines()
    waiting = [line for line in lines if line.startswith(("antiphon_queue_ready", "antiphon_outbox"))]
    assert waiting
    return all(float(line.rsplit(" ", 1)[1]) == 0 for line in waiting)


def _until(house: House, condition: Callable[[], Any], what: str) -> Any:
    while not (found := condition()):
        house.in_time(what)
        house.check()
        time.sleep(0.03)
    return found
