"""Dramatiq: COUNT messages of 512 bytes drained by one process of eight threads; durable classic queue."""

from __future__ import annotations

import os
import sys

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from workers import Heard, drain

dramatiq.set_broker(RabbitmqBroker(url=os.environ["AMQP_URL"], confirm_delivery=True))
heard = Heard("dramatiq-drain")


@dramatiq.actor(queue_name="dramatiq-drain")
def listen(id: str, text: str) -> None:
    heard.one()


if __name__ == "__main__":
    worker = [sys.executable, "-m", "dramatiq", "dramatiq_consumer", "-p", "1", "-t", "8",
              "-Q", "dramatiq-drain"]  # fmt: skip
    drain(heard, lambda number: listen.send(f"e{number}", "x" * 300), int(sys.argv[1]), worker)
