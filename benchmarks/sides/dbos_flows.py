"""DBOS: COUNT workflows of three steps, AT_ONCE at a time, in one process: in ``threads`` or on ``asyncio``.

Both are what its documentation offers. Our steps are coroutines, as those of its second form are.
"""

from __future__ import annotations

import os
import sys

import uvloop
from dbos import DBOS, SetWorkflowID
from loadgen import measure, measure_threads

form, count, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = {
    "name": "bench",
    "system_database_url": os.environ["DBOS_URL"],
    "log_level": "WARNING",
    "run_admin_server": False,
}
DBOS(config=config)  # type: ignore[arg-type]


@DBOS.step()
def first() -> int:
    return 1


@DBOS.step()
def second(n: int) -> int:
    return n + 1


@DBOS.step()
def third(n: int) -> int:
    return n + 1


@DBOS.workflow()
def flow() -> int:
    return third(second(first()))


@DBOS.step()
async def first_async() -> int:
    return 1


@DBOS.step()
async def second_async(n: int) -> int:
    return n + 1


@DBOS.step()
async def third_async(n: int) -> int:
    return n + 1


@DBOS.workflow()
async def flow_async() -> int:
    return await third_async(await second_async(await first_async()))


def run(number: int) -> int:
    with SetWorkflowID(f"k{number}"):
        return DBOS.start_workflow(flow).get_result()


async def run_async(number: int) -> int:
    with SetWorkflowID(f"k{number}"):
        handle = await DBOS.start_workflow_async(flow_async)
    return await handle.get_result()


async def main() -> None:
    DBOS.launch()
    await measure(run_async, count, at_once)
    DBOS.destroy()


if form == "asyncio":
    uvloop.run(main())
else:
    DBOS.launch()
    measure_threads(run, count, at_once)
    DBOS.destroy()
