"""Processes come and go; what they had claimed goes on elsewhere, once."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from bus.envelope import message_of
from contracts.envelope import Event
from reactors import consumer, intake
from reactors.claims import Claim, Claimed, Crashed, Held, Key, Settled, Suspected, Verdict
from reactors.dead_letters import DeadLetters
from reactors.failure import Failure
from reactors.inbox import Inbox
from reactors.letter import Letter
from reactors.presence import Presence
from reactors.reactor import reacts_to
from reactors.settlements import Settlement
from store.tables import dead_letters, processes, reactions
from tests.reactors.worker import bomb, ledger
from tests.reactors.world import BOOKED, TOLD, World, booked, until


async def kill_a_worker_after(messages: int, world: World) -> None:
    """Start a worker, and kill it when it has begun with so many messages."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.reactors.worker", world.bus_at, world.database_url,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert worker.stdout is not None
    try:
        for _ in range(messages):
            line = await asyncio.wait_for(worker.stdout.readline(), 20)
            assert line.startswith(b"handling")
    finally:
        worker.kill()
        await worker.wait()


async def test_killed_in_the_middle(world: World) -> None:
    """A worker dies of ``kill -9`` with messages in hand: another does them, each settled once."""
    await world.database.write(lambda conn: conn.execute(text("CREATE TABLE ledger (ride VARCHAR(20))")))
    await world.bus.declare(ledger.reactor.queue())
    rides = [f"r{n:02}" for n in range(40)]
    await world.publish(*map(booked, rides))
    await world.close_bus()  # an embedded bus belongs to one process at a time
    await kill_a_worker_after(20, world)
    in_hand = (await world.statuses("ledger")).count("claimed")
    await world.open_bus()
    await world.run(ledger)
    await world.until_settled("ledger", *["done"] * len(rides))
    await world.until_empty("reactor.ledger")
    query = text("SELECT ride FROM ledger ORDER BY ride")
    assert await world.database.read(lambda conn: [row.ride for row in conn.execute(query)]) == rides
    crashed = [row for row in await world.rows(reactions) if row["crashes"] == 1]
    assert len(crashed) == in_hand > 0


async def lives_of_the_bomb(ride: str, world: World) -> list[list[tuple[str, int]]]:
    """What the inbox knows after each worker that it took down, until that is one crash."""
    await world.bus.declare(bomb.reactor.queue())
    await world.publish(replace(booked(ride), type=TOLD))
    await world.close_bus()
    lives: list[list[tuple[str, int]]] = []
    while len(lives) < 5 and lives[-1:] != [[("claimed", 1)]]:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.reactors.worker", world.bus_at, world.database_url
        )
        assert await asyncio.wait_for(worker.wait(), 60) == -signal.SIGKILL
        lives.append([(row["status"], row["crashes"]) for row in await world.rows(reactions, reactor="bomb")])
    await world.open_bus()
    return lives


async def test_who_takes_down_its_workers_is_counted_though_it_was_not_claimed_at_first(world: World) -> None:
    """An idempotent handler: nothing is known of the first crash (embedded: of two), and then of each."""
    lives = await lives_of_the_bomb("r1", world)
    unseen = 1 if world.bus_at.startswith("amqp") else 2
    assert lives[0] == []
    assert lives[-2:] == [[("claimed", 0)], [("claimed", 1)]]
    assert len(lives) <= unseen + 2


async def test_who_takes_down_its_worker_after_a_while_is_counted_each_time(world: World) -> None:
    """An idempotent handler has a claim by then."""
    assert await lives_of_the_bomb("slow", world) == [[("claimed", 0)], [("claimed", 1)]]


def claim(event: Event, *, redrive: int = 0, alone: bool = False) -> Claim:
    letter = Letter("notify", "reactor.notify", event, message_of(event))
    return Claim(Key("notify", event.source, event.id), letter, redrive, alone)


async def seen_alive(world: World, incarnation: str) -> Presence:
    presence = Presence(world.database, url=None, incarnation=incarnation, role="reactors", name="test")
    await presence.start()
    return presence


async def test_what_a_live_process_holds_is_left_to_it(world: World) -> None:
    """A second copy waits while the holder lives; when it signs off, the copy is let in."""
    alive = await seen_alive(world, "one")
    one, two = Inbox(world.database, incarnation="one"), Inbox(world.database, incarnation="two")
    event = booked()
    assert await one.claim(claim(event)) == Claimed(1, 1, 0, await received(world))
    assert isinstance(await two.claim(claim(event)), Held)
    await alive.stop()
    taken = await two.claim(claim(event))
    assert isinstance(taken, Claimed)
    assert (taken.attempt, taken.attempts) == (1, 2)  # a crash is no failed attempt


async def received(world: World) -> float:
    (row,) = await world.rows(reactions)
    at: float = row["received_at"]
    return at


async def test_a_claim_whose_answer_was_lost_is_given_again(world: World) -> None:
    """Asking again for what is ours already is no crash and no attempt."""
    inbox = Inbox(world.database, incarnation="one")
    event = booked()
    first = await inbox.claim(claim(event))
    assert await inbox.claim(claim(event)) == first


async def test_a_settlement_without_the_claim_changes_nothing(world: World) -> None:
    """A process that was taken for dead comes back too late: neither done nor dead counts."""
    one, two = Inbox(world.database, incarnation="one"), Inbox(world.database, incarnation="two")
    event = booked()
    late = await one.claim(claim(event))
    assert isinstance(late, Claimed)
    assert isinstance(await two.claim(claim(event)), Claimed)
    mine = claim(event)
    wrote: list[str] = []
    done = Settlement(mine.key, late, mine.letter, "done", works=(lambda conn: wrote.append("late"),))
    failure = Failure.of(ValueError("late"))
    dead = Settlement(mine.key, late, mine.letter, "dead", failure=failure)
    assert await one.settle(done) is False
    assert await one.settle(dead) is False
    assert await one.settle(Settlement(mine.key, late, mine.letter, "returned")) is False
    assert wrote == []
    assert await world.statuses("notify") == ["claimed"]
    assert await world.rows(dead_letters) == []


async def test_settling_again_is_harmless(world: World) -> None:
    """The answer to the commit was lost: the second time is true, and the works do not run again."""
    inbox = Inbox(world.database, incarnation="one")
    mine = claim(booked())
    claimed = await inbox.claim(mine)
    assert isinstance(claimed, Claimed)
    wrote: list[str] = []
    done = Settlement(mine.key, claimed, mine.letter, "done", works=(lambda conn: wrote.append("once"),))
    assert await inbox.settle(done) is True
    assert await inbox.settle(done) is True
    assert wrote == ["once"]
    # Nor does giving it back, while stopping, undo what is done.
    assert await inbox.settle(Settlement(mine.key, claimed, mine.letter, "returned")) is True
    assert await world.statuses("notify") == ["done"]


async def test_a_poison_message_is_parked(world: World) -> None:
    """What crashes its worker each time is a dead letter after five, and no sixth goes down with it."""
    event = booked()
    verdicts: list[Verdict] = []
    for n in range(6):
        inbox = Inbox(world.database, incarnation=f"doomed-{n}")
        verdict = await inbox.claim(claim(event))
        if isinstance(verdict, Suspected):
            verdict = await inbox.claim(claim(event, alone=True))
        verdicts.append(verdict)
    assert [type(verdict) for verdict in verdicts] == [Claimed] * 5 + [Crashed]
    (letter,) = await world.rows(dead_letters)
    assert letter["error_message"] == "crashed its worker 5 times"
    assert letter["attempts"] == 5
    again = await Inbox(world.database, incarnation="late").claim(claim(event))
    assert again == Settled("dead", None)


async def test_many_claims_at_once(world: World) -> None:
    """Two processes with the same hundred messages: each message is claimed by exactly one of them."""
    await seen_alive(world, "one")
    await seen_alive(world, "two")
    claims = [claim(booked(f"r{n}")) for n in range(100)]
    inboxes = [Inbox(world.database, incarnation=name) for name in ("one", "two")]
    one, two = await asyncio.gather(*(asyncio.gather(*map(inbox.claim, claims)) for inbox in inboxes))
    for first, second in zip(one, two, strict=True):
        assert sorted([type(first), type(second)], key=str) == [Claimed, Held]


async def test_a_drained_process_finishes_what_it_has(world: World) -> None:
    """Stopping takes nothing new, waits for what is under way, and gives back the rest."""
    begun, release = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    @reacts_to(BOOKED, concurrency=1)
    async def notify(event: dict[str, Any]) -> None:
        seen.append(event["ride_id"])
        begun.set()
        await release.wait()

    runtime = await world.run(notify)
    await world.publish(*[booked(f"r{n}") for n in range(4)])
    await begun.wait()
    stopping = asyncio.create_task(runtime.stop(drain=20))
    await asyncio.sleep(0.1)
    release.set()
    await stopping
    assert await world.statuses("notify") == ["done"]
    assert seen == ["r0"]
    await world.run(notify)
    await world.until_settled("notify", *["done"] * 4)
    assert sorted(seen) == ["r0", "r1", "r2", "r3"]


async def test_what_does_not_end_in_time_is_given_back(world: World) -> None:
    """Its claim goes with it: the next process takes it at once, and it counts as no attempt."""
    hang = True
    begun = asyncio.Event()
    attempts: list[int] = []

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any], ctx: Any) -> None:
        attempts.append(ctx.attempt)
        begun.set()
        if hang:
            await asyncio.sleep(3600)

    runtime = await world.run(notify)
    await world.publish(booked())
    await begun.wait()
    await runtime.stop(drain=0.05)
    assert await world.statuses("notify") == ["retrying"]
    hang = False
    await world.run(notify)
    await world.until_settled("notify", "done")
    assert attempts == [1, 1]
    (row,) = await world.rows(reactions)
    assert (row["attempts"], row["crashes"]) == (1, 0)


async def test_a_busy_event_loop_does_not_look_dead(world: World) -> None:
    """The heartbeat comes from a thread: code that blocks the loop does not stop it."""
    runtime = await world.run(ledger, incarnation="busy")
    (before,) = await world.rows(processes, id="busy")
    time.sleep(2.5)  # this is the misbehaviour
    (after,) = await world.rows(processes, id="busy")
    assert after["alive_until"] > before["alive_until"]
    await runtime.stop()
    (gone,) = await world.rows(processes, id="busy")
    assert gone["alive_until"] < after["alive_until"]


@pytest.mark.parametrize("who", ["consumer", "message"])
async def test_a_bug_does_not_end_a_consumer(world: World, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error nobody thought of is logged, the message is given back, and the consumer goes on."""
    monkeypatch.setattr(consumer, "AGAIN", 0.05)
    strikes = iter([True])

    def strike() -> None:
        if next(strikes, False):
            raise RuntimeError("a bug")

    if who == "message":
        admit = intake.Intake.admit

        def admits(self: Any, *args: Any) -> Any:
            strike()
            return admit(self, *args)

        monkeypatch.setattr(intake.Intake, "admit", admits)
    else:
        begin = consumer.Consumer._begin

        def begins(self: Any, *args: Any) -> None:
            strike()
            begin(self, *args)

        monkeypatch.setattr(consumer.Consumer, "_begin", begins)

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any]) -> None:
        return None

    await world.run(notify)
    await world.publish(booked())
    await world.until_settled("notify", "done")

    async def acked() -> bool:
        return not (await world.bus.stats("reactor.notify")).unsettled

    await until(acked, lambda: "the ack")


async def test_suspects_are_tried_one_at_a_time(world: World) -> None:
    """What was in hand at several crashes runs with no other suspect beside it; the rest is not held up."""
    suspects = [booked(f"suspect-{n}") for n in range(3)]
    for n in range(2):
        doomed = Inbox(world.database, incarnation=f"doomed-{n}")
        for event in suspects:
            await doomed.claim(claim(event))
    running: set[str] = set()
    together: list[set[str]] = []

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any]) -> None:
        running.add(event["ride_id"])
        together.append(set(running))
        await asyncio.sleep(0.1)
        running.discard(event["ride_id"])

    await world.run(notify)
    await world.publish(*suspects, booked("fresh-1"), booked("fresh-2"))
    await world.until_settled("notify", *["done"] * 5)
    assert max(len({ride for ride in at_once if "suspect" in ride}) for at_once in together) == 1
    assert {"fresh-1", "fresh-2"} <= set().union(*together)
    assert any({"fresh-1", "fresh-2"} <= at_once for at_once in together)


async def test_poison_is_parked_by_the_runtime(world: World) -> None:
    """The message is acked, and its letter can be redriven."""
    event = booked()
    for n in range(5):
        await Inbox(world.database, incarnation=f"doomed-{n}").claim(claim(event, alone=True))

    @reacts_to(BOOKED)
    async def notify(event: dict[str, Any]) -> None:
        return None

    await world.run(notify)
    await world.publish(event)
    await world.until_settled("notify", "dead")
    await world.until_empty("reactor.notify")
    letters = DeadLetters(world.database, world.bus, world.registry)
    (letter,) = await letters.letters(event.workspace)
    await letters.redrive(event.workspace, letter.id, actor="ada", reason="memory is cheap")
    await world.until_settled("notify", "done")
    (row,) = await world.rows(reactions)
    assert (row["attempts"], row["crashes"], row["redrives"]) == (1, 0, 1)
