"""What a reconciler finds is kept, repairs are patient, and a pass over thousands of runs costs little."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from contracts.errors import StoreUnavailable
from orchestrator.doubts import QuietRun
from orchestrator.facts import Fact
from orchestrator.happenings import Happening, Reconciled
from orchestrator.nodes import sleep
from orchestrator.proofs import Findings, Place, Proofs
from orchestrator.reconciler import Reconciler
from store import tables
from store.bulk import insert_rows
from store.database import Database
from tests.orchestrator.flows import flow
from tests.orchestrator.pretending import Pretended, row_of
from tests.plans import Explained


async def test_only_the_owner_of_this_epoch_leaves_findings(database: Database) -> None:
    """A zombie's would hide what the new owner sees."""
    row = {"id": 1, "owner": "me", "epoch": 5, "lease_until": 0.0}
    await database.write(lambda connection: insert_rows(connection, tables.partitions, [row]))
    proofs = Proofs(database)
    await proofs.keep(1, 5, Findings(proved=2, repaired={"timer_lost": 1}), 10.0)
    await proofs.keep(1, 4, Findings(), 11.0)
    assert await proofs.repaired(1) == {"timer_lost": 1}
    assert await proofs.repaired(2) == {}
    await proofs.keep(1, 5, Findings(proved=1, repaired={"timer_lost": 2}), 12.0)
    assert await proofs.repaired(1) == {"timer_lost": 2}


class Kept:
    """Proofs of these runs; what is left there is in ``findings``."""

    def __init__(self, *runs: QuietRun) -> None:
        self.runs, self.findings = list(runs), list[Findings]()

    async def page(self, partition: int, **_: Any) -> tuple[list[QuietRun], Place | None]:
        return self.runs, None

    async def repaired(self, partition: int) -> dict[str, int]:
        return {"timer_lost": 4}

    async def keep(self, partition: int, epoch: int, findings: Findings, at: float) -> None:
        self.findings.append(findings)


def looking(kept: Any, now: list[float], happened: list[Happening] | None = None) -> Reconciler:
    """A reconciler that is told to look; nothing is in hand."""
    found: list[Happening] = [] if happened is None else happened
    return Reconciler(
        kept,
        0,
        1,
        clock=lambda: now[0],
        works=lambda run_id, node: False,
        knows=lambda flow, version: True,
        happened=lambda run_id, happening: found.append(happening),
    )


def sleeper(number: int, entry: dict[str, Any] | None = None) -> QuietRun:
    """A run that sleeps, and whose timer is gone."""
    active = {"nap": {"kind": "sleep", "due": 9.0} if entry is None else entry}
    return QuietRun(f"r{number:05}", "acme", "f", 1, str(number), 1.0, active)


async def test_a_repair_that_does_not_help_is_tried_ever_less_often() -> None:
    """Each leaves a fact, and a history has an end; meanwhile the run stays listed."""
    now, happened = [100.0], list[Happening]()
    kept = Kept(sleeper(1))
    reconciler = looking(kept, now, happened)
    tried: list[float] = []
    for _ in range(100):
        before = len(happened)
        await reconciler.look()
        tried += [now[0] - 100.0] * (len(happened) - before)
        now[0] += 10.0
    assert tried == [0.0, 30.0, 90.0, 210.0, 450.0, 930.0]
    assert happened[0] == Reconciled(timers=(("nap", 9.0),))
    assert kept.findings[-1].listed[0]["reason"] == "nap: its timer is gone - it is set again"


async def test_one_odd_run_costs_no_other_its_proof() -> None:
    """It is listed, the others are looked at."""
    kept, happened = Kept(sleeper(1, {"kind": "call"}), sleeper(2)), list[Happening]()
    await looking(kept, [100.0], happened).look()
    assert [run["code"] for run in kept.findings[0].listed] == ["unreadable", "timer_lost"]
    assert len(happened) == 1


async def test_findings_that_did_not_change_are_told_once_a_minute() -> None:
    """An idle store is written to now and then, so that everybody knows that it is still looked at."""
    now, kept = [100.0], Kept(sleeper(1, {"kind": "wait", "type": "t"}))
    reconciler = looking(kept, now)
    for _ in range(13):
        await reconciler.look()
        now[0] += 10.0
    assert [findings.proved for findings in kept.findings] == [1, 1, 1]
    reconciler.repaired([("r1", Fact(3, "run_repaired", "nap", 1.0, {"reason": "timer_lost"}))])
    await reconciler.look()
    assert kept.findings[-1].repaired == {"timer_lost": 1}


async def test_findings_that_could_not_be_kept_are_not_counted_twice() -> None:
    """The store is away when the last of two pages was looked at: the next round has findings of its own."""

    class Away(Kept):
        async def page(self, partition: int, **more: Any) -> tuple[list[QuietRun], Place | None]:
            return (self.runs[:1], (1.0, "r1")) if more["after"] is None else (self.runs[1:], None)

        async def keep(self, *of: Any) -> None:
            if away.pop():
                raise StoreUnavailable("away")
            await super().keep(*of)

    away, waits = [False, True], {"kind": "wait", "type": "t"}
    kept = Away(sleeper(1, waits), sleeper(2, waits))
    reconciler = looking(kept, [100.0])
    for _ in range(2):
        assert await reconciler.look(await reconciler.look()) is None
    assert [findings.proved for findings in kept.findings] == [2]


async def test_counts_go_on_from_owner_to_owner() -> None:
    """What the last one repaired is not forgotten."""
    kept = Kept()
    reconciler = looking(kept, [100.0])
    reconciler._every = 0.01
    reconciler.start()
    async with asyncio.timeout(10):
        while not kept.findings:
            await asyncio.sleep(0.01)
    await reconciler.stop()
    assert kept.findings[0].repaired == {"timer_lost": 4}


async def test_it_outlives_what_it_does_not_expect() -> None:
    """It begins anew, and does not end."""
    looks: list[Place | None] = []

    class Odd(Kept):
        async def page(self, partition: int, **more: Any) -> tuple[list[QuietRun], Place | None]:
            looks.append(more["after"])
            raise KeyError("dispatch")

    reconciler = looking(Odd(), [0.0])
    reconciler._every = 0.01
    reconciler.start()
    async with asyncio.timeout(10):
        while len(looks) < 3:
            await asyncio.sleep(0.01)
    await reconciler.stop()


# --- it costs little ----------------------------------------------------------------------------


async def fill(database: Database, number: int) -> None:
    """Open runs that wait, each with a timer, in partition 0."""
    made = flow(sleep("1h", name="nap"))
    run = Pretended(made).run
    runs, timers = [], []
    for count in range(number):
        run_id, created = f"r{-count % 7}{count:05}", float(count // 3)  # some at the same time, in no order
        row = {**row_of(run), "id": run_id, "key": str(count), "partition": 0}
        runs.append(row | {"created_at": created, "updated_at": 1.0})
        timers.append({"run_id": run_id, "name": "nap", "partition": 0, "due_at": run.active["nap"]["due"]})

    def write(connection: Any) -> None:
        insert_rows(connection, tables.runs, runs)
        insert_rows(connection, tables.timers, timers)
        insert_rows(connection, tables.partitions, [{"id": 0, "epoch": 1, "lease_until": 0.0}])

    await database.write(write)


async def test_two_thousand_open_runs_are_proved_in_a_few_queries(database: Database) -> None:
    """Runs and timers for each page of 500, and one write of what was found."""
    await fill(database, 2_000)
    asked_for: list[str] = []

    class Counting:
        """The database, and what is asked of it."""

        async def read(self, work: Any) -> Any:
            return await database.read(lambda connection: work(watched(connection)))

        async def write(self, work: Any) -> Any:
            return await database.write(lambda connection: work(watched(connection)))

    def watched(connection: Any) -> Any:
        class Watched:
            dialect = connection.dialect

            def __getattr__(self, name: str) -> Any:
                if name in ("execute", "exec_driver_sql"):
                    asked_for.append(name)
                return getattr(connection, name)

        return Watched()

    now, happened = [100.0], list[Happening]()
    reconciler = looking(Proofs(Counting()), now, happened)  # type: ignore[arg-type]
    after, pages = await reconciler.look(), 1
    while after:
        after, pages = await reconciler.look(after), pages + 1
    assert pages == 5  # the last one is empty, and says that it was the last
    assert happened == []
    (row,) = await database.read(lambda connection: connection.execute(tables.reconciliations.select()).all())
    assert (row.proved, row.unproven) == (2_000, 0)
    assert len(asked_for) <= 3 * pages + 2


async def test_pages_are_found_by_an_index_of_open_runs_alone(database: Database) -> None:
    """A million ended runs cost the reconciler nothing."""
    await fill(database, 2_000)
    await database.write(lambda connection: connection.exec_driver_sql("ANALYZE") and None)
    explained: Any = Explained(database, "runs")
    first, _ = await Proofs(database).page(0, after=None, before=99.0, most=500)
    for after in (None, (300.0, first[-1].id)):
        (how,) = await Proofs(explained).page(0, after=after, before=99.0, most=500)
        assert "runs_partition_open" in how, how
        if after is not None:  # it begins there, instead of passing over what was looked at
            assert re.search(r"\(created_at,id\)>|Index Cond: .*ROW\(created_at, id\) >", how), how
        assert "Sort" not in how, how
        assert "TEMP B-TREE" not in how, how
