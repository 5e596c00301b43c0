"""TLS to RabbitMQ, PostgreSQL and Redis: it works with the right CA, and with nothing less."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from antiphon.devservices import DevServices, LocalPostgres, LocalRabbit, LocalRedis
from antiphon.devservices.postgres import find_postgres
from antiphon.devservices.rabbit import find_rabbit
from antiphon.devservices.redis import find_redis
from antiphon.settings import Settings
from antiphon.tls import amqp_url, database_url, redis_url
from bus.addresses import addresses
from bus.port import Queue
from bus.rabbit import RabbitBus
from contracts.errors import ConfigurationError, LiveUnavailable
from store.database import Database
from store.live import open_live
from tests.antiphon.certificates import Authority
from tests.bus.helpers import ids, to


@dataclass
class Servers:
    """All three with TLS, and the CA that they and their clients trust."""

    authority: Authority
    rabbit: LocalRabbit
    postgres: LocalPostgres
    redis: LocalRedis
    database: str

    def settings(self, **more: object) -> Settings:
        folder = self.authority.folder
        given: dict[str, object] = {
            "amqp_url": self.rabbit.tls_url,
            "database_url": self.database,
            "redis_url": self.redis.tls_url,
            "tls_ca": self.authority.ca,
            "tls_cert": folder / "client.pem",
            "tls_key": folder / "client.key",
        }
        return Settings.load(**{**given, **more})


@pytest.fixture(scope="module")
def servers(
    services: DevServices,
    tmp_path_factory: pytest.TempPathFactory,
    rabbit: object,
    postgres: object,
    redis_server: object,
) -> Iterator[Servers]:
    """Servers of our own, whatever the other tests use: those are asked for so that all is installed."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "ours")
    authority.sign("server", "localhost")
    authority.sign("client")
    found = find_rabbit(), find_postgres(), find_redis()
    if None in found:
        pytest.skip("the servers are somebody else's, and not installed here")
    with ExitStack() as stack:
        rabbit_server = LocalRabbit(found[0], tls=authority.folder)  # type: ignore[arg-type]
        database_server = LocalPostgres(found[1], tls=authority.folder)  # type: ignore[arg-type]
        live_server = LocalRedis(found[2], tls=authority.folder)  # type: ignore[arg-type]
        started = [rabbit_server, database_server, live_server]
        for server in started:
            stack.callback(server.close)
        with ThreadPoolExecutor(3) as pool:
            for future in [pool.submit(server.start) for server in started]:
                future.result()
        database = database_server.create_database().replace("127.0.0.1", "localhost")
        yield Servers(authority, rabbit_server, database_server, live_server, database)


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """The certificate of a CA that has signed nothing here."""
    return Authority(tmp_path / "stranger").ca


async def test_everything_goes_round_over_tls(servers: Servers) -> None:
    """With the CA and a certificate of one's own, bus, store and live store work, and are encrypted."""
    settings = servers.settings()
    bus = RabbitBus(amqp_url(settings) or "")
    await bus.start()
    await bus.declare(Queue("q"))
    await bus.publish(*to("q", "a", "b"))
    assert await ids(await bus.subscribe("q", prefetch=5), 2) == ["a", "b"]
    await bus.close()
    database = await Database.open(database_url(settings))
    ask = text("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert (await database.read(lambda connection: connection.execute(ask).one()))[0] is True
    await database.close()
    live = open_live(redis_url(settings))
    await live.put("k", b"v")
    assert await live.get("k") == b"v"
    await live.close()


async def test_a_strange_ca_is_refused_at_once(servers: Servers, stranger: Path) -> None:
    """A server whose certificate another CA has signed is not spoken to, and the error says why."""
    settings = servers.settings(tls_ca=stranger)
    with pytest.raises(
        ConfigurationError, match=r"TLS with RabbitMQ at localhost:\d+ failed.*ANTIPHON_TLS_CA"
    ):
        await RabbitBus(amqp_url(settings) or "").start()
    with pytest.raises(ConfigurationError, match=r"TLS with PostgreSQL.*failed.*ANTIPHON_TLS_CA"):
        await Database.open(database_url(settings))
    await _redis_refuses(settings)


async def test_a_certificate_for_another_host_is_refused(servers: Servers) -> None:
    """The certificates are for localhost; the same servers by another name of theirs are not trusted."""
    other = {
        name: getattr(servers.settings(), name).replace("localhost", "127.0.0.1")
        for name in ("amqp_url", "database_url", "redis_url")
    }
    settings = servers.settings(**other)
    with pytest.raises(ConfigurationError, match=r"TLS with RabbitMQ at 127.0.0.1.*(mismatch|not valid)"):
        await RabbitBus(amqp_url(settings) or "").start()
    with pytest.raises(ConfigurationError, match=r"TLS with PostgreSQL.*(mismatch|not valid)"):
        await Database.open(database_url(settings))
    await _redis_refuses(settings)


async def test_without_a_ca_the_systems_are_asked(servers: Servers) -> None:
    """amqps and rediss without ANTIPHON_TLS_CA verify all the same, with the CAs of the system."""
    settings = servers.settings(tls_ca=None, database_url=f"{servers.database}?sslmode=verify-full")
    with pytest.raises(ConfigurationError, match="TLS with RabbitMQ"):
        await RabbitBus(amqp_url(settings) or "").start()
    with pytest.raises(ConfigurationError, match="TLS with PostgreSQL"):
        await Database.open(database_url(settings))
    await _redis_refuses(settings)


async def test_a_broker_that_asks_for_a_certificate_gets_one_or_nobody_in(servers: Servers) -> None:
    """Without a certificate of the client the broker hangs up."""
    settings = servers.settings(tls_cert=None, tls_key=None)
    bus = RabbitBus(amqp_url(settings) or "", connect_timeout=2.0)
    with pytest.raises(Exception, match="RabbitMQ at localhost"):
        await bus.start()


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca"])
async def test_half_a_verification_is_refused(mode: str) -> None:
    """PostgreSQL's modes that do not tell the right server from any other can't be chosen."""
    with pytest.raises(ConfigurationError, match=f"sslmode={mode}.*verify-full"):
        await Database.open(f"postgresql://u@localhost/x?sslmode={mode}")


@pytest.mark.parametrize("said", ["ssl_cert_reqs=none", "ssl_cert_reqs=optional", "ssl_check_hostname=false"])
def test_redis_can_not_be_told_not_to_verify(said: str) -> None:
    """A URL that would switch verification off is refused."""
    with pytest.raises(ConfigurationError, match="always verified"):
        open_live(f"rediss://localhost/0?{said}")


def test_rabbitmq_can_not_be_told_not_to_verify() -> None:
    """A URL that would switch verification off is refused."""
    with pytest.raises(ConfigurationError, match="always verified"):
        RabbitBus("amqps://localhost/?no_verify_ssl=1")


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    """One of ANTIPHON_TLS_CERT and ANTIPHON_TLS_KEY is a mistake, and so is a file that is not there."""
    Authority(tmp_path)
    with pytest.raises(ConfigurationError, match="go together"):
        Settings.load(tls_cert=tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match="ANTIPHON_TLS_CA: there is no file"):
        Settings.load(tls_ca=tmp_path / "nothing.pem")


def test_what_a_url_says_itself_wins(tmp_path: Path) -> None:
    """The settings fill in what the URL leaves open; a store that is to be reached in the clear says so."""
    ca = Authority(tmp_path).ca
    named = Settings.load(tls_ca=ca, amqp_url="amqps://h/?cafile=%2Fmine", database_url="postgresql://h/x")
    assert amqp_url(named) == "amqps://h/?cafile=%2Fmine"
    assert database_url(named).startswith("postgresql://h/x?sslmode=verify-full&sslrootcert=")
    nodes = Settings.load(tls_ca=ca, amqp_url="amqps://a/v, amqps://b/v")
    assert [urlsplit(node).hostname for node in addresses(amqp_url(nodes) or "")] == ["a", "b"]
    assert (amqp_url(nodes) or "").count("cafile=") == 2
    plain = Settings.load(tls_ca=ca, amqp_url="amqp://h/", database_url="postgresql://h/x?sslmode=disable")
    assert (amqp_url(plain), database_url(plain)) == ("amqp://h/", "postgresql://h/x?sslmode=disable")


async def _redis_refuses(settings: Settings) -> None:
    live = open_live(redis_url(settings))
    with pytest.raises(LiveUnavailable, match=r"(?i)certificate"):
        await live.ping()
    await live.close()
