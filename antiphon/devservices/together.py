"""Which service to use: one that the environment points at, else one of our own, installed when missing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from antiphon.devservices.errors import ServiceUnavailable
from antiphon.devservices.packages import install
from antiphon.devservices.postgres import LocalPostgres, RemotePostgres, find_postgres
from antiphon.devservices.rabbit import LocalRabbit, RemoteRabbit, find_rabbit
from antiphon.devservices.redis import LocalRedis, RemoteRedis, find_redis

__all__ = ["NAMES", "DevServices"]

NAMES = ("rabbit", "postgres", "redis")
FINDERS = {"rabbit": find_rabbit, "postgres": find_postgres, "redis": find_redis}
VARIABLES = {
    "rabbit": "ANTIPHON_TEST_AMQP_URL",
    "postgres": "ANTIPHON_TEST_DATABASE_URL",
    "redis": "ANTIPHON_TEST_REDIS_URL",
}
PACKAGES = {
    "rabbit": ["rabbitmq-server"],
    "postgres": ["postgresql", "postgresql-client"],
    "redis": ["redis-server"],
}

AnyRabbit = LocalRabbit | RemoteRabbit
AnyPostgres = LocalPostgres | RemotePostgres
AnyRedis = LocalRedis | RemoteRedis
AnyService = AnyRabbit | AnyPostgres | AnyRedis


class DevServices:
    """RabbitMQ, PostgreSQL and Redis for a test run or a demo; each is started when it is first asked for.

    Asking raises ServiceUnavailable with the reason, the same each time: a failure is not tried again.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.environ = environ
        self._pool = ThreadPoolExecutor(len(NAMES), thread_name_prefix="devservices")
        self._lock = threading.Lock()
        self._asked: dict[str, Future[AnyService]] = {}

    def prepare(self, names: Iterable[str] = NAMES) -> None:
        """Install what is missing, in one go, and begin to start these services side by side.

        Raises nothing: whoever asks for a service hears why it can't be had.
        """
        with self._lock:
            new = [name for name in names if name not in self._asked]
            missing = [name for name in new if self._remote(name) is None and FINDERS[name]() is None]
            reason = _install(missing)
            for name in new:
                self._asked[name] = self._pool.submit(self._start, name, reason if name in missing else None)

    @property
    def rabbit(self) -> AnyRabbit:
        service = self._get("rabbit")
        assert isinstance(service, LocalRabbit | RemoteRabbit)
        return service

    @property
    def postgres(self) -> AnyPostgres:
        service = self._get("postgres")
        assert isinstance(service, LocalPostgres | RemotePostgres)
        return service

    @property
    def redis(self) -> AnyRedis:
        service = self._get("redis")
        assert isinstance(service, LocalRedis | RemoteRedis)
        return service

    def settings(self) -> dict[str, str]:
        """The ANTIPHON_* variables of processes that are to use these services; makes a fresh database."""
        self.prepare()
        return {
            "ANTIPHON_AMQP_URL": self.rabbit.url,
            "ANTIPHON_DATABASE_URL": self.postgres.create_database(),
            "ANTIPHON_REDIS_URL": self.redis.url,
        }

    def close(self) -> None:
        """End all that were started here and throw their data away."""
        with self._lock:
            asked, self._asked = self._asked, {}
        self._pool.shutdown(wait=True)
        for future in asked.values():
            if future.exception() is None:
                future.result().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, name: str) -> AnyService:
        self.prepare([name])
        return self._asked[name].result()

    def _start(self, name: str, reason: ServiceUnavailable | None) -> AnyService:
        if reason is not None:
            raise reason
        service = self._remote(name) or _local(name)
        try:
            service.start()
        except BaseException:
            service.close()
            raise
        return service

    def _remote(self, name: str) -> AnyService | None:
        url = self.environ.get(VARIABLES[name])
        if not url:
            return None
        if name == "rabbit":
            return RemoteRabbit(url, self.environ.get("ANTIPHON_TEST_MANAGEMENT_URL") or _management_of(url))
        return RemotePostgres(url) if name == "postgres" else RemoteRedis(url)


def _install(names: list[str]) -> ServiceUnavailable | None:
    packages = [package for name in names for package in PACKAGES[name]]
    try:
        if packages:
            install(packages)
    except ServiceUnavailable as reason:
        return reason
    return None


def _local(name: str) -> AnyService:
    binary = FINDERS[name]()
    if binary is None:
        raise ServiceUnavailable(
            f"{name} was installed ({', '.join(PACKAGES[name])}), but its binary is not found"
        )
    if name == "rabbit":
        return LocalRabbit(binary)
    return LocalPostgres(binary) if name == "postgres" else LocalRedis(binary)


def _management_of(amqp_url: str) -> str:
    """RabbitMQ's management API where it is unless somebody moved it."""
    return f"http://{urlsplit(amqp_url).hostname or '127.0.0.1'}:15672"
