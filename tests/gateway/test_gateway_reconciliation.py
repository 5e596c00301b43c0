"""Whether every open run can go on: at its address and in the metrics."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, delete

from store import tables
from store.bulk import insert_rows
from store.database import Database
from tests.gateway.house import House
from tests.gateway.seeding import OURS, THEIRS, run
from tests.gateway.test_gateway_operations import samples


def doubted(run_id: str, workspace: str) -> dict[str, Any]:
    """A run as a reconciler lists it."""
    return {
        "run_id": run_id,
        "workspace": workspace,
        "flow": "ride",
        "version": 1,
        "key": f"key-{run_id}",
        "since": 1_700_000_000.0,
        "code": "timer_lost",
        "reason": "nap: its timer is gone - it is set again",
    }


def found(partition: int, at: float, *listed: dict[str, Any], proved: int = 0) -> dict[str, Any]:
    """What the reconciler of one partition left."""
    return {
        "partition": partition,
        "epoch": 1,
        "at": at,
        "proved": proved,
        "unproven": len(listed),
        "listed": orjson.dumps(listed).decode(),
        "repaired": orjson.dumps({"timer_lost": partition + 1}).decode(),
    }


async def seed(database: Database, now: float, ours: str = OURS) -> None:
    """Two partitions, one with an owner; an open run in each, one of them stuck; ours and theirs doubted."""

    def write(connection: Connection) -> None:
        for table in (tables.partitions, tables.reconciliations):
            connection.execute(delete(table))
        insert_rows(
            connection,
            tables.partitions,
            [
                {"id": 0, "owner": "o", "epoch": 1, "lease_until": now + 600},
                {"id": 1, "owner": None, "epoch": 1, "lease_until": 0.0},
            ],
        )
        rows = [run("a", "stuck", waiting="pay: stuck: no money"), run("b", "running", partition=1), run("c")]
        rows = [{**row, "workspace": ours} for row in rows]
        insert_rows(connection, tables.runs, rows)
        mine, other = doubted("b", ours), doubted("x", THEIRS)
        looks = [found(0, now - 5, other, proved=7), found(1, now - 50, mine)]
        insert_rows(connection, tables.reconciliations, looks)

    await database.write(write)


async def test_what_can_not_go_on_is_listed_with_the_reason(house: House) -> None:
    """Runs of the key's workspace, unproven and stuck; counts are of all."""
    await seed(house.database, house.platform.clock())
    async with house.client("viewer") as client:
        answer = (await client.get("/reconciliation")).json()
        metrics = samples((await client.get("/metrics")).text)
    items = [(item["run"], item["status"], item["code"], item["reason"]) for item in answer.pop("items")]
    assert items == [
        ("b", "unproven", "timer_lost", "nap: its timer is gone - it is set again"),
        ("a", "stuck", "incident", "pay: stuck: no money"),
    ]
    assert answer.pop("looked_at") is not None
    assert answer == {"proved": 7, "unproven": 2, "unowned": 1, "repaired": {"timer_lost": 3}}
    assert metrics["antiphon_runs_proved"] == 7
    assert metrics["antiphon_runs_unproven"] == 2
    assert metrics["antiphon_runs_unowned"] == 1
    assert metrics['antiphon_runs_repaired_total{reason="timer_lost"}'] == 3
    assert metrics['antiphon_runs_repaired_total{reason="work_lost"}'] == 0
    assert metrics["antiphon_reconciled_seconds"] >= 50


async def test_a_partition_that_was_never_looked_at_is_no_proof(house: House) -> None:
    """Neither time nor age is made up."""
    await seed(house.database, house.platform.clock())
    forget = delete(tables.reconciliations).where(tables.reconciliations.c.partition == 1)
    await house.database.write(lambda connection: connection.execute(forget) and None)
    async with house.client("viewer") as client:
        assert (await client.get("/reconciliation")).json()["looked_at"] is None
        assert "antiphon_reconciled_seconds" not in samples((await client.get("/metrics")).text)
