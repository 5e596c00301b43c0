"""Asks things of runs: start, signal, cancel, retry, pause, resume, migrate; and waits for their answers.

Each request returns on the broker's confirm: from then on it can't be lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, select

from bus.port import Bus
from contracts.crash import reached
from contracts.envelope import derive_id
from contracts.errors import (
    ContractViolation,
    NotMigratable,
    RunEnded,
    RunNotFound,
    UnknownFlow,
    Violation,
)
from contracts.record import record
from orchestrator import wire
from orchestrator.answers import Answers, start_of
from orchestrator.catalog import Catalog
from orchestrator.flow import Flow, run_id_of
from orchestrator.happenings import StartRequested
from orchestrator.migration import Move
from orchestrator.objections import Objections
from orchestrator.operators import undone_before
from orchestrator.outcomes import rerun_id
from orchestrator.starts import Starts
from orchestrator.unstarted import Unstarted
from store import tables
from store.bulk import select_rows
from store.database import Database
from store.live.port import Live

__all__ = ["Client", "Receipt"]

Outcome = Literal["created", "exists", "conflict", "purged", "accepted"]

_MOST_KEY = 512
_PURGED = SimpleNamespace(ended_at=0.0)  # how a run stands that has ended and is gone


@record
class Receipt:
    """What became of a start.

    ``accepted``: durable on the bus, and no owner has answered yet. ``purged``: the key's run ended long
    ago and its rows are gone; it is not run again.
    """

    run_id: str
    outcome: Outcome


class Client:
    """One for each process that asks. Call ``start_listening`` once, ``close`` at the end.

    ``by_hand``: requests go straight onto the partitions' queues, as an operator's own key and user may
    put them there.
    """

    def __init__(
        self,
        flows: Iterable[Flow],
        *,
        bus: Bus,
        database: Database,
        live: Live,
        check: Callable[[str, Any], None],
        incarnation: str,
        partitions: int,
        clock: Callable[[], float] = time.time,
        by_hand: bool = False,
    ) -> None:
        self.catalog = Catalog(flows)
        self._bus = bus
        self._database = database
        self._check = check
        self._incarnation = incarnation
        self._partitions = partitions
        self._clock = clock
        self._by_hand = by_hand
        self._objections = Objections(self.catalog, database, check)
        standing = self._standing = database.group_read(_standings)
        self.unstarted = Unstarted(standing.submit)
        self._starts = Starts(bus, clock)
        self._answers = Answers(live, incarnation, started=self.unstarted.answered)

    @property
    def flows(self) -> dict[str, list[Flow]]:
        """Every version of every flow, by name, oldest first."""
        found: dict[str, list[Flow]] = {}
        for flow in sorted(self.catalog.all(), key=lambda flow: flow.version):
            found.setdefault(flow.name, []).append(flow)
        return found

    @staticmethod
    def run_id(workspace: str, flow: str, key: str) -> str:
        """The id of the run that this key has, or would have."""
        return run_id_of(workspace, flow, key)

    async def start_listening(self) -> None:
        """Listen for answers."""
        await self._answers.start()
        self.unstarted.start()

    async def close(self) -> None:
        """Listen no more."""
        await self.unstarted.close()
        await self._answers.close()

    def key_of(self, flow: str, input: Any) -> str:
        """The key of an input. Raises UnknownFlow, ContractViolation."""
        found = self.catalog.find(flow)
        if found is None:
            known = ", ".join(each.name for each in self.catalog.newest()) or "none"
            raise UnknownFlow(f"there is no flow {flow!r}; there are: {known}")
        self._check(found.input_type, input)
        key = input.get(found.key) if isinstance(input, dict) else None
        if not isinstance(key, str | int) or isinstance(key, bool) or not 0 < len(str(key)) <= _MOST_KEY:
            wanted = f"a text of 1 to {_MOST_KEY} characters or a whole number: the key of flow {flow!r}"
            raise ContractViolation(found.input_type, [Violation(f"/{found.key}", wanted, repr(key)[:80])])
        if "\x00" in str(key):
            raise ContractViolation(
                found.input_type, [Violation(f"/{found.key}", "no NUL character", "a NUL")]
            )
        return str(key)

    async def start(
        self,
        workspace: str,
        flow: str,
        input: dict[str, Any],
        *,
        start_id: str,
        correlation: str | None = None,
        traceparent: str | None = None,
        wait: float = 5.0,
    ) -> Receipt:
        """Start a run, and wait up to ``wait`` seconds for its owner's answer.

        Raises UnknownFlow, ContractViolation, and PublishFailed or BusUnavailable when the bus has not
        confirmed the start: then it may or may not happen, and the same again is right.
        """
        key = self.key_of(flow, input)
        definition = self.catalog.find(flow)
        if definition is None:
            raise UnknownFlow(f"there is no flow {flow!r}")
        run_id = run_id_of(workspace, flow, key)
        asked = StartRequested(
            message_id=start_id,
            run_id=run_id,
            partition=wire.partition_of(run_id, self._partitions),
            workspace=workspace,
            flow=flow,
            version=definition.version,
            key=key,
            input=input,
            input_digest=wire.digest_of(input),
            correlation=correlation or run_id,
            traceparent=traceparent,
            answer_to=self._incarnation,
        )
        id = start_of(run_id, start_id)
        with self._answers.expect(id) as answer:
            with self.unstarted.handing_over(id):
                await self._starts.publish(asked)
            outcome = await answer.within(wait, lambda: self._journalled(asked))
            if outcome is not None:
                self.unstarted.answered(id)
        return Receipt(run_id, outcome or "accepted")

    async def ended(self, run_id: str, timeout: float) -> bool:
        """Wait for the end of a run; whether it has ended by then."""
        with self._answers.expect(run_id) as answer:
            return await answer.within(timeout, lambda: self._has_ended(run_id)) is not None

    async def signal(
        self, workspace: str, run_id: str, name: str, data: Any, *, signal_id: str, actor: str
    ) -> None:
        """Tell a run something by name. Raises RunNotFound, RunEnded, BusUnavailable, PublishFailed."""
        await self._ask("signal", workspace, run_id, {"name": name, "data": data, "actor": actor}, signal_id)

    async def cancel(self, workspace: str, run_id: str, *, reason: str, actor: str) -> None:
        """Ask for a run to be undone. Raises RunNotFound, RunEnded (also past its pivot)."""
        row = await self._row(workspace, run_id)
        if row.ended_at is None and orjson.loads(row.state).get("pivoted"):
            raise RunEnded(f"run {run_id} is past its pivot and only goes forward")
        await self._ask("cancel", workspace, run_id, {"reason": reason, "actor": actor})

    async def pause(self, workspace: str, run_id: str, *, reason: str, actor: str) -> None:
        """Ask a run to start nothing new. Raises RunNotFound, RunEnded."""
        await self._ask("pause", workspace, run_id, {"reason": reason, "actor": actor})

    async def resume(self, workspace: str, run_id: str, *, reason: str, actor: str) -> None:
        """Ask a paused run to go on. Raises RunNotFound, RunEnded."""
        await self._ask("resume", workspace, run_id, {"reason": reason, "actor": actor})

    async def retry(
        self,
        workspace: str,
        run_id: str,
        *,
        from_node: str | None = None,
        reason: str,
        actor: str,
        retry_id: str | None = None,
    ) -> str:
        """Go on with a stuck run, or make an ended one again; the id of the run that then goes on.

        Asked again with the same ``retry_id``, it is the same request: it makes no further run.

        Raises RunNotFound, and UnknownFlow when ``from_node`` is no node to begin at.
        """
        row = await self._row(workspace, run_id)
        flow = self.catalog.find(row.flow, row.version)
        if from_node is not None and (
            flow is None or from_node not in flow.plan.places or flow.plan.places[from_node].branches
        ):
            raise UnknownFlow(f"flow {row.flow!r} v{row.version} has no node {from_node!r} to begin at")
        data = {"reason": reason, "actor": actor, "from_node": from_node}
        if row.ended_at is None:
            await self._ask("retry", workspace, run_id, {**data, "rerun": 0}, retry_id and f"{retry_id} 0")
            return run_id
        state = orjson.loads(row.state)
        made = state.get("reruns", 0)
        if retry_id is not None:
            for rerun in range(made, -1, -1):
                if await self._was_taken(run_id, derive_id("retry", run_id, f"{retry_id} {rerun}")):
                    return rerun_id(run_id, rerun) if rerun else run_id
        if from_node is not None and flow is not None and state.get("backward"):
            undone = undone_before(flow.plan, from_node)
            if undone is not None:
                raise UnknownFlow(
                    f"run {run_id} can't begin at {from_node!r} again: {undone!r} before it was undone; "
                    "begin there or earlier"
                )
        number = made + 1
        # The number is what the owner goes by: two people who ask at the same time get one run.
        asked = {**data, "rerun": number}
        await self._ask("retry", workspace, run_id, asked, f"{retry_id or 'rerun'} {number}", ended_too=True)
        return rerun_id(run_id, number)

    async def migrate(self, workspace: str, run_id: str, move: Move, *, reason: str, actor: str) -> None:
        """Ask for a run to go on as another version says. Its owner looks once more, and has the last word.

        Raises RunNotFound, UnknownFlow when this app lacks a version, NotMigratable with the reasons.
        """
        reasons = await self.objections(workspace, run_id, move)
        if reasons:
            raise NotMigratable(run_id, reasons)
        data = {"to": move.to, "renames": dict(move.renames), "without": list(move.without)}
        await self._ask("migrate", workspace, run_id, {**data, "reason": reason, "actor": actor})

    async def objections(self, workspace: str, run_id: str, move: Move) -> list[str]:
        """Why a run can't be moved as it stands now; empty when it can. Raises RunNotFound, UnknownFlow."""
        return await self._objections.to(move, workspace, run_id)

    async def _ask(
        self,
        verb: str,
        workspace: str,
        run_id: str,
        data: dict[str, Any],
        id: str | None = None,
        *,
        ended_too: bool = False,
    ) -> None:
        row = await self._row(workspace, run_id)
        at = self._clock()
        # Without an id of the caller's own, each request is one of its own.
        message_id = (
            derive_id(verb, run_id, id) if id else derive_id(verb, run_id, self._incarnation, repr(at))
        )
        if row.ended_at is not None and not ended_too:
            if id and await self._was_taken(run_id, message_id):
                return  # a repeat by somebody who did not hear that it was taken
            raise RunEnded(f"run {run_id} has ended as {row.status}; it can't take {verb!r} any more")
        # Where this process's starts go, and not what the row says: its owner of before sends both on.
        partition = wire.partition_of(run_id, self._partitions)
        request = wire.request(verb, run_id, partition, data, id=message_id, at=at, workspace=workspace)
        reached("orchestrator.client.ask.before")
        await self._bus.publish(wire.by_hand(request) if self._by_hand else request)
        reached("orchestrator.client.ask.after")

    async def _was_taken(self, run_id: str, message_id: str) -> bool:
        keys = [(run_id, message_id)]
        rows = await self._database.read(lambda connection: select_rows(connection, tables.marks, keys))
        return bool(rows)

    async def _row(self, workspace: str, run_id: str) -> Any:
        columns = tables.runs.c
        query = select(
            columns.status,
            columns.ended_at,
            columns.flow,
            columns.version,
            columns.key,
            columns.state,
        ).where(columns.id == run_id, columns.workspace == workspace)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise RunNotFound(f"there is no run {run_id!r} in workspace {workspace!r}")
        return row

    async def _journalled(self, asked: StartRequested) -> Outcome | None:
        row = await self._standing.submit(asked.run_id)
        if row is None:
            return None
        if row is _PURGED:
            return "purged"
        if row.input_digest != asked.input_digest:
            return "conflict"
        return "created" if row.start_id == asked.message_id else "exists"

    async def _has_ended(self, run_id: str) -> bool | None:
        row = await self._standing.submit(run_id)
        return True if row is not None and row.ended_at is not None else None


def _standings(connection: Connection, run_ids: list[str]) -> list[Any]:
    """How each run stands; None where there is none, or never was. One query for all who wait."""
    columns = ("id", "start_id", "input_digest", "ended_at")
    keys = [(run_id,) for run_id in run_ids]
    rows = {row.id: row for row in select_rows(connection, tables.runs, keys, columns=columns)}
    missing = [(run_id,) for run_id in run_ids if run_id not in rows]
    gone = {row.run_id for row in select_rows(connection, tables.purged, missing, columns=("run_id",))}
    return [_PURGED if run_id in gone else rows.get(run_id) for run_id in run_ids]
