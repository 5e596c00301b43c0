"""DBOS: COUNT workflows of three steps, AT_ONCE at a time, in one process."""

from __future__ import annotations

import os
import sys

from dbos import DBOS, SetWorkflowID
from loadgen import measure_threads

count, at_once = int(sys.argv[1]), int(sys.argv[2])
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


def run(number: int) -> int:
    with SetWorkflowID(f"k{number}"):
        return DBOS.start_workflow(flow).get_result()


DBOS.launch()
measure_threads(run, count, at_once)
DBOS.destroy()
