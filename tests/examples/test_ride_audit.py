"""The audit finds each kind of inconsistency that is planted: one that can't fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from examples.ride.demo.books import Books, Entry, Mail, Move
from examples.ride.demo.check import RunRecord, audit


@dataclass
class Scene:
    """A completed ride ``a``, a compensated ride ``b``, and a refused one ``x``; all in order."""

    runs: list[RunRecord] = field(
        default_factory=lambda: [
            RunRecord("a", "completed", {"driver": "driver-0001", "fare_cents": 780}),
            RunRecord("b", "compensated"),
        ]
    )
    accepted: set[str] = field(default_factory=lambda: {"a", "b"})
    rejected: set[str] = field(default_factory=lambda: {"x"})
    books: Books = field(
        default_factory=lambda: Books(
            moves=[
                Move(1, "matched", "a", "driver-0001"),
                Move(2, "dispatched", "a", "driver-0001"),
                Move(3, "matched", "b", "driver-0002"),
                Move(4, "released", "b", "driver-0002"),
                Move(5, "freed", "a", "driver-0001"),
            ],
            quotes=[Entry("quoted", "a", 780), Entry("quoted", "b", 500), Entry("withdrawn", "b", 0)],
            payments=[
                Entry("authorized", "a", 780),
                Entry("authorized", "b", 500),
                Entry("voided", "b", 500),
                Entry("captured", "a", 780),
            ],
            mails=[
                Mail("a", "ride.booked.v1"),
                Mail("a", "ride.completed.v1", copies=2),
                Mail("b", "ride.cancelled.v1"),
            ],
            filed={"receipts": ["a"], "driver_earnings": ["a"], "city_stats": ["a"]},
        )
    )

    def kinds(self) -> set[str]:
        found = audit(self.runs, self.books, accepted=self.accepted, rejected=self.rejected)
        return {inconsistency.kind for inconsistency in found}


def test_books_in_order_have_no_inconsistency() -> None:
    """A completed and a compensated ride with all that belongs to them pass, a suppressed copy too."""
    assert Scene().kinds() == set()


def _without(scene: Scene, number: int) -> None:
    scene.books.moves = [move for move in scene.books.moves if move.seq != number]


def _a_second_run(scene: Scene) -> None:
    scene.runs.append(scene.runs[0])


def _stuck(scene: Scene) -> None:
    scene.runs[0] = RunRecord("a", "stuck")


def _other_fare(scene: Scene) -> None:
    scene.runs[0] = RunRecord("a", "completed", {"driver": "driver-0001", "fare_cents": 781})


def _overlap(scene: Scene) -> None:
    scene.books.moves[2:4] = [Move(3, "matched", "b", "driver-0001"), Move(4, "released", "b", "driver-0001")]


def _other_driver_sent(scene: Scene) -> None:
    scene.books.moves[1] = Move(2, "dispatched", "a", "driver-0009")


PLANTED: list[tuple[str, Callable[[Scene], object]]] = [
    ("run_lost", lambda scene: scene.accepted.add("c")),
    ("run_twice", _a_second_run),
    ("run_not_ended", _stuck),
    ("rejected_entered", lambda scene: scene.runs.append(RunRecord("x", "running"))),
    ("rejected_entered", lambda scene: scene.books.payments.append(Entry("authorized", "x", 1))),
    ("ride_unknown", lambda scene: scene.books.mails.append(Mail("z", "ride.booked.v1"))),
    ("driver_on_two_rides", _overlap),
    ("driver_not_free", lambda scene: _without(scene, 5)),
    ("driver_not_free", lambda scene: _without(scene, 4)),
    ("driver_not_free", lambda scene: scene.books.on_the_road.update({"driver-0005": "b"})),
    ("driver_differs", lambda scene: scene.books.moves.insert(1, Move(9, "matched", "a", "driver-0003"))),
    ("driver_differs", _other_driver_sent),
    ("dispatched_and_undone", lambda s: s.books.moves.insert(3, Move(9, "dispatched", "b", "driver-0002"))),
    ("quote_differs", lambda scene: scene.books.quotes.remove(Entry("quoted", "a", 780))),
    ("quote_differs", lambda scene: scene.books.quotes.append(Entry("withdrawn", "a", 0))),
    ("quote_differs", _other_fare),
    ("quote_stands", lambda scene: scene.books.quotes.remove(Entry("withdrawn", "b", 0))),
    ("not_captured", lambda scene: scene.books.payments.pop()),
    ("captured_twice", lambda scene: scene.books.payments.append(Entry("captured", "a", 780))),
    ("wrong_amount", _other_fare),
    ("hold_differs", lambda scene: scene.books.payments.append(Entry("authorized", "a", 780))),
    ("hold_differs", lambda scene: scene.books.payments.append(Entry("voided", "a", 780))),
    ("not_voided", lambda scene: scene.books.payments.remove(Entry("voided", "b", 500))),
    ("captured_and_undone", lambda scene: scene.books.payments.append(Entry("captured", "b", 500))),
    ("not_told", lambda scene: scene.books.mails.pop(0)),
    ("not_told", lambda scene: scene.books.mails.pop(2)),
    ("told_twice", lambda scene: scene.books.mails.append(Mail("a", "ride.booked.v1"))),
    ("told_wrongly", lambda scene: scene.books.mails.append(Mail("b", "ride.completed.v1"))),
    ("not_filed", lambda scene: scene.books.filed["receipts"].clear()),
    ("filed_twice", lambda scene: scene.books.filed["city_stats"].append("a")),
    ("filed_wrongly", lambda scene: scene.books.filed["driver_earnings"].append("b")),
]


@pytest.mark.parametrize(
    ("kind", "plant"), PLANTED, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(PLANTED)]
)
def test_a_planted_inconsistency_is_found(kind: str, plant: Callable[[Scene], object]) -> None:
    """What is wrong is found, and by its name."""
    scene = Scene()
    plant(scene)
    assert kind in scene.kinds()


def test_rides_before_this_tour_are_not_called_unended() -> None:
    """A run that this tour did not start may still be at work."""
    scene = Scene()
    scene.runs.append(RunRecord("earlier", "running"))
    assert scene.kinds() == set()
