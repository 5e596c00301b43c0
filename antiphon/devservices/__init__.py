"""Real RabbitMQ, PostgreSQL and Redis for the tests and for ``make demo ARGS=--services``.

Each runs on free loopback ports with its own data folder, and ends with the process that started it, however
that ends. ``ANTIPHON_TEST_AMQP_URL``, ``_DATABASE_URL`` and ``_REDIS_URL`` point at others instead, which are
used but never stopped. ``python -m antiphon.devservices`` keeps a set of them until Ctrl-C.
"""

from __future__ import annotations

from antiphon.devservices.cluster import RabbitCluster
from antiphon.devservices.errors import ServiceUnavailable
from antiphon.devservices.postgres import LocalPostgres, Postgres, RemotePostgres
from antiphon.devservices.rabbit import LocalRabbit, Rabbit, RemoteRabbit
from antiphon.devservices.redis import LocalRedis, Redis, RemoteRedis
from antiphon.devservices.together import DevServices

__all__ = [
    "DevServices",
    "LocalPostgres",
    "LocalRabbit",
    "LocalRedis",
    "Postgres",
    "Rabbit",
    "RabbitCluster",
    "Redis",
    "RemotePostgres",
    "RemoteRabbit",
    "RemoteRedis",
    "ServiceUnavailable",
]
