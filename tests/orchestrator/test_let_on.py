"""Somebody lets a stuck run go on: what a service refused is asked again, and nothing is done twice."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from bus.envelope import message_of
from contracts.envelope import Event
from contracts.errors import ContractViolation, Terminal, Violation
from orchestrator.context import StepContext
from orchestrator.nodes import Node, emit, step
from orchestrator.wire import command_id, partition_of, partition_queue
from reactors.claims import Claim, Claimed, Key, Settled
from reactors.inbox import Inbox
from reactors.letter import Letter
from reactors.service import CommandContext, Service
from store import tables
from tests.orchestrator.flows import flow, here, remote, remote_undoable
from tests.orchestrator.running import PARTITIONS_MADE, WORKSPACE, House, until


class Bank:
    """A service that refuses one command until it is told not to."""

    def __init__(self, refused: str) -> None:
        self.refuses: str | None = refused
        self.did: list[str] = []
        self.service = Service("bank")
        for name in ("hold", "unhold"):
            self.service.handles(f"bank.{name}.v1")(self._handler(name))

    def _handler(self, name: str) -> Any:
        async def handle(command: dict[str, Any], ctx: CommandContext) -> None:
            if name == self.refuses:
                raise Terminal("the account is locked", code="locked")
            self.did.append(name)

        return handle


async def no(ctx: StepContext) -> None:
    raise Terminal("no")


async def raised(house: House, run_id: str, times: int) -> bool:
    return (await house.types(run_id)).count("incident_raised") == times


async def gone_on(house: House, bank: Bank, *nodes: Node, end: str) -> str:
    """A run that is refused, let go on in vain, refused again, and let go on once the bank is willing."""
    made = flow(*nodes)
    await house.serve(bank.service)
    await house.orchestrate(made)
    client = await house.client(made)
    run_id = (await house.start(made, "k1")).run_id
    for times in (1, 2):
        await until(partial(raised, house, run_id, times), lambda: "the incident")
        if times == 2:
            bank.refuses = None
        await client.retry(WORKSPACE, run_id, reason="unlocked", actor="ann")
    await house.until(run_id, end)
    return run_id


async def test_a_step_past_the_pivot_is_asked_of_its_service_again(house: House) -> None:
    """It can only go forward: else it would be stuck for good. The command is the same one."""
    bank = Bank("hold")
    run_id = await gone_on(house, bank, here("p", pivot=True), remote("hold", timeout=5), end="completed")
    assert bank.did == ["hold"]
    (row,) = await house.rows(tables.reactions, reactor="service.bank")
    assert (row["event_id"], row["status"], row["redrives"]) == (command_id(run_id, "hold"), "done", 2)


async def test_a_compensation_is_asked_of_its_service_again(house: House) -> None:
    """Nobody can cancel a run that goes back already."""
    bank = Bank("unhold")
    await gone_on(house, bank, remote_undoable("hold", timeout=5), step(no), end="compensated")
    assert bank.did == ["hold", "unhold"]


async def test_what_was_done_or_barred_is_not_done_when_it_is_asked_again(house: House) -> None:
    """Only a refusal had no effect for certain, and what was undone must never be done."""
    await house.orchestrate(flow(here("a")))
    inbox = Inbox(house.database, incarnation="i1")
    for id, reply in (
        ("done", {"outcome": "done", "result": 1}),
        ("barred", {"outcome": "refused", "error": {"code": "undone", "message": "it was undone"}}),
    ):
        event = Event.create("bank.hold.v1", {}, id=id, source="/s", at=1.0, workspace=WORKSPACE)
        claim = Claim(
            Key("service.bank", "/s", id), Letter("service.bank", "q", event, message_of(event)), redrive=1
        )
        assert isinstance(await inbox.claim(claim), Claimed)
        text = orjson.dumps(reply).decode()
        await house.database.write(
            lambda conn, text=text, id=id: conn.execute(
                tables.reactions.update()
                .where(tables.reactions.c.event_id == id)
                .values(status="done", reply=text, redrives=0)
            )
        )
        assert await inbox.claim(claim) == Settled("done", text)


async def test_two_who_let_a_stuck_run_go_on_don_t_run_it_twice(house: House) -> None:
    """The first one's request ends the run, and the second's comes after that."""
    charged: list[str] = []

    async def charge(ctx: StepContext) -> None:
        charged.append(ctx.run_id)

    def check(type: str, data: object) -> None:
        if type == "x.said.v1":
            raise ContractViolation(type, [Violation("/id", "a number", "k1")])

    made = flow(step(charge, pivot=True), emit("x.said.v1", {"id": "$.input.id"}))
    await house.orchestrate(made, check=check)
    client = await house.client(made)
    run_id = (await house.start(made, "k1")).run_id
    await house.until(run_id, "stuck")
    await house.stop_first()
    for who in ("ann", "bob"):
        assert await client.retry(WORKSPACE, run_id, reason="mended", actor=who) == run_id
    await house.orchestrate(made)
    await house.until(run_id, "completed")
    queue = partition_queue(partition_of(run_id, PARTITIONS_MADE)).name

    async def both_are_taken() -> bool:
        stats = await house.bus.stats(queue)
        return not stats.ready and not stats.unsettled

    await until(both_are_taken, lambda: "both requests")
    assert charged == [run_id]
    assert (await house.types(run_id))[-1] == "run_completed"
