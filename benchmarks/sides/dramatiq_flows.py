"""Dramatiq: COUNT pipelines of three actors, AT_ONCE at a time; one worker process, results in Redis."""

from __future__ import annotations

import os
import subprocess
import sys

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from loadgen import measure_threads

broker = RabbitmqBroker(url=os.environ["AMQP_URL"], confirm_delivery=True)
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"])))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def first() -> int:
    return 1


@dramatiq.actor(store_results=True)
def second(n: int) -> int:
    return n + 1


@dramatiq.actor(store_results=True)
def third(n: int) -> int:
    return n + 1


def run(number: int) -> int:
    pipe = first.message() | second.message() | third.message()
    pipe.run()
    return int(pipe.get_result(block=True, timeout=60_000))


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    worker = subprocess.Popen(
        [sys.executable, "-m", "dramatiq", "dramatiq_flows", "-p", "1", "-t", "8"],
        cwd=here, env={**os.environ, "PYTHONPATH": here}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        measure_threads(run, int(sys.argv[1]), int(sys.argv[2]))
    finally:
        worker.terminate()
        worker.wait(20)
