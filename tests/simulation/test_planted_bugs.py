"""A simulation that finds nothing proves something only if it finds what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from antiphon.testing import FAULTS, Outcome, simulate
from antiphon.testing.chance import Fault
from bus.port import EVENTS
from examples.ride.simulated import simulation
from orchestrator import journal, relay
from orchestrator.batch import Batch
from orchestrator.effects import PublishEvent
from orchestrator.journal import Journal
from orchestrator.partition import Partition
from orchestrator.turn import Turn
from reactors.consumer import Consumer
from tests.simulation.planted import find

Plant = Callable[[pytest.MonkeyPatch], None]


def ack_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    turn = Partition._turn

    async def hasty(self: Partition, arrivals: Any, *others: Any) -> None:
        deliveries = [arrival.delivery for arrival in arrivals if arrival.delivery]
        if deliveries and self._subscription is not None:
            await self._subscription.ack(deliveries)
        await turn(self, arrivals, *others)

    patch.setattr(Partition, "_turn", hasty)


def epoch_not_checked(patch: pytest.MonkeyPatch) -> None:
    class Whatever(int):
        __hash__ = int.__hash__

        def __ne__(self, other: object) -> bool:
            return False

    owners = journal._owners
    patch.setattr(
        journal,
        "_owners",
        lambda c, p: {number: (Whatever(epoch or 0), last) for number, (epoch, last) in owners(c, p).items()},
    )


def commit_id_not_remembered(patch: pytest.MonkeyPatch) -> None:
    owners = journal._owners
    patch.setattr(
        journal,
        "_owners",
        lambda c, p: {number: (epoch, None) for number, (epoch, _) in owners(c, p).items()},
    )


def mark_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Batch, "mark", lambda self, run_id, message_id: None)


def effect_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    decide = Partition._decide

    def hasty(self: Partition, batch: Batch, *others: Any) -> Any:
        later = decide(self, batch, *others)
        for run, flow, order in batch.dispatches:
            self._shop.executor.dispatch(run, flow, order, self.report)
        batch.dispatches.clear()
        return later

    patch.setattr(Partition, "_decide", hasty)


def published_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    decide = Partition._decide

    def hasty(self: Partition, batch: Batch, *others: Any) -> Any:
        later = decide(self, batch, *others)
        for change in batch.changes.values():
            self._relay.put(change.posts)
        return later

    patch.setattr(Partition, "_decide", hasty)


def outbox_of_the_last_owner_forgotten(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Journal, partition: int) -> list[Any]:
        return []

    patch.setattr(Journal, "outbox", nothing)


def reaction_acked_before_it_is_settled(patch: pytest.MonkeyPatch) -> None:
    async def hasty(self: Consumer, delivery: Any, subscription: Any, acks: Any) -> None:
        async with self._slots:
            acks.add(delivery)
            await self._process(delivery)

    patch.setattr(Consumer, "_one", hasty)


def event_that_the_broker_did_not_take_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(relay, "_nobody_listens", lambda post, error: post.outgoing.exchange == EVENTS)


def emitted_without_an_event(patch: pytest.MonkeyPatch) -> None:
    then = Turn.then
    patch.setattr(
        Turn, "then", lambda self, effect: isinstance(effect, PublishEvent) or then(self, effect) is None
    )


# With the faults under which it shows, in how many seeds, and what is then said of it.
PLANTED: list[tuple[Plant, tuple[Fault, ...], int, str]] = [
    (ack_before_the_commit, FAULTS, 40, "was accepted, and the journal has none"),
    (epoch_not_checked, ("partition", "delay"), 60, "owns it"),
    (commit_id_not_remembered, ("lost-reply", "delay"), 40, "messages are in the outbox"),
    (mark_dropped, FAULTS, 40, "a second time"),
    (effect_before_the_commit, FAULTS, 5, "started before that was durable"),
    (published_before_the_commit, FAULTS, 5, "was published, and was never committed so"),
    (outbox_of_the_last_owner_forgotten, FAULTS, 40, "messages are in the outbox"),
    (reaction_acked_before_it_is_settled, FAULTS, 40, "has not settled"),
    (event_that_the_broker_did_not_take_forgotten, FAULTS, 40, "was committed, and never published"),
    (emitted_without_an_event, FAULTS, 5, "emitted ride."),
]


@pytest.mark.parametrize(
    ("plant", "faults", "within", "says"), PLANTED, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_planted_bug_is_found(
    plant: Plant, faults: tuple[Fault, ...], within: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each breaks a promise within few seeds, that very one, and the seeds are clean once it is gone."""
    plant(monkeypatch)
    found = find(simulation, says, within, faults=faults, runs=2)
    monkeypatch.undo()
    assert _again(found, faults).ok


def _again(outcome: Outcome, faults: tuple[Fault, ...]) -> Outcome:
    return simulate(simulation, seeds=[outcome.seed], faults=faults, runs=2)
