"""Celery: COUNT messages of 512 bytes drained by a worker of one process, acks late, results ignored."""

from __future__ import annotations

import os
import sys

from celery import Celery
from kombu import Queue
from workers import Heard, drain

app = Celery("celery_consumer", broker=os.environ["AMQP_URL"])
app.conf.task_queues = [Queue("celery-drain", queue_arguments={"x-queue-type": "quorum"}, durable=True)]
app.conf.task_default_queue = "celery-drain"
app.conf.task_acks_late = True
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 200
app.conf.worker_detect_quorum_queues = True
app.conf.broker_transport_options = {"confirm_publish": True}
heard = Heard("celery-drain")


@app.task
def listen(id: str, text: str) -> None:
    heard.one()


if __name__ == "__main__":
    worker = [sys.executable, "-m", "celery", "-A", "celery_consumer", "worker", "-P", "solo", "-l", "ERROR",
              "--without-gossip", "--without-mingle"]  # fmt: skip
    drain(heard, lambda number: listen.delay(f"e{number}", "x" * 480), int(sys.argv[1]), worker)
