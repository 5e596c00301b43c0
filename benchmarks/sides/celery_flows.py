"""Celery: COUNT chains of three tasks, AT_ONCE at a time; a worker of two, acks late, results in Redis."""

from __future__ import annotations

import os
import subprocess
import sys

from celery import Celery, chain
from kombu import Queue
from loadgen import measure_threads

app = Celery("celery_flows", broker=os.environ["AMQP_URL"], backend=os.environ["REDIS_URL"])
app.conf.task_queues = [Queue("celery-bench", queue_arguments={"x-queue-type": "quorum"}, durable=True)]
app.conf.task_default_queue = "celery-bench"
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 50
app.conf.worker_detect_quorum_queues = True
app.conf.broker_transport_options = {"confirm_publish": True}


@app.task
def first() -> int:
    return 1


@app.task
def second(n: int) -> int:
    return n + 1


@app.task
def third(n: int) -> int:
    return n + 1


def run(number: int) -> int:
    return int(chain(first.s(), second.s(), third.s()).apply_async().get(timeout=60))


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_flows", "worker", "-c", "2", "-l", "WARNING",
         "--without-gossip", "--without-mingle"],
        cwd=here, env={**os.environ, "PYTHONPATH": here}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        measure_threads(run, int(sys.argv[1]), int(sys.argv[2]))
    finally:
        worker.terminate()
        worker.wait(20)
