"""The development services: real, ours, restartable, and gone when their parent is."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.devservices import (
    DevServices,
    LocalPostgres,
    LocalRedis,
    Postgres,
    Rabbit,
    Redis,
    ServiceUnavailable,
)
from antiphon.devservices import packages as debian
from antiphon.devservices.packages import find, install
from antiphon.devservices.ports import FIRST, LAST, accepts, free_ports
from antiphon.devservices.postgres import find_postgres, recovery_settings
from antiphon.devservices.redis import find_redis


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


def ask_redis(url: str, *words: str) -> bytes:
    port = int(url.rpartition(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall((" ".join(words) + "\r\n").encode())
        return connection.recv(1000)


def psql(url: str, statement: str) -> str:
    program = find("psql", ["/usr/lib/postgresql/*/bin/psql"])
    assert program is not None
    command = [str(program), "-X", "-A", "-t", "-d", url.replace("+asyncpg", ""), "-c", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


@pytest.fixture
def own_redis(redis_server: Redis) -> LocalRedis:
    binary = find_redis()
    if binary is None or not isinstance(redis_server, LocalRedis):
        raise ServiceUnavailable("no redis-server here to start one of our own")
    return LocalRedis(binary)


def test_each_test_gets_a_vhost_that_is_gone_afterwards(rabbit: Rabbit) -> None:
    """A vhost is there inside the with block and deleted after it."""
    with rabbit.vhost() as url:
        name = url.rpartition("/")[2]
        assert name.encode() in rabbit.manage("GET", "/api/vhosts")
    assert name.encode() not in rabbit.manage("GET", "/api/vhosts")


def test_postgresql_keeps_its_promises_on_disk(postgres: Postgres) -> None:
    """fsync and synchronous_commit are on, as in production."""
    url = postgres.create_database()
    assert psql(url, "SHOW fsync") == "on"
    assert psql(url, "SHOW synchronous_commit") == "on"


def test_every_database_is_a_new_one(postgres: Postgres) -> None:
    """Two databases never share a name, and start empty."""
    first, second = postgres.create_database(), postgres.create_database()
    assert first != second
    assert first.startswith("postgresql+asyncpg://")
    assert psql(first, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"


def test_a_killed_postgresql_comes_back_with_what_was_committed() -> None:
    """kill -9 loses no committed row, and start works at once although old backends are still going."""
    binary = find_postgres()
    if binary is None:
        raise ServiceUnavailable("no PostgreSQL binaries here to start one of our own")
    with LocalPostgres(binary) as server:
        url = server.create_database()
        psql(url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        server.kill()
        assert not server.running
        server.start()
        assert psql(url, "SELECT n FROM kept") == "7"
        folder = server.folder
    assert not folder.exists()


@pytest.mark.parametrize(
    ("said", "settings"),
    [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", {"recovery_init_sync_method": "syncfs"}),
        ("postgres (PostgreSQL) 13.4", {}),
        ("", {}),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the file system is synced at once on Linux alone")
def test_a_postgresql_that_is_too_old_is_not_told_how_to_recover(
    tmp_path: Path, said: str, settings: dict[str, str]
) -> None:
    """It would not start."""
    binary = tmp_path / "postgres"
    binary.write_text(f"#!/bin/sh\necho '{said}'\n")
    binary.chmod(0o755)
    assert recovery_settings(binary) == settings


def test_a_restarted_redis_keeps_its_port_and_its_data(own_redis: LocalRedis) -> None:
    """The append-only file is on, and the address stays."""
    with own_redis as server:
        ask_redis(server.url, "SET", "a", "1")
        server.restart()
        assert ask_redis(server.url, "GET", "a") == b"$1\r\n1\r\n"


def test_a_stopped_server_refuses_connections_until_it_is_started(own_redis: LocalRedis) -> None:
    """stop really stops, a second stop is harmless, start brings it back."""
    with own_redis as server:
        server.stop()
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            ask_redis(server.url, "PING")
        server.start()
        assert ask_redis(server.url, "PING") == b"+PONG\r\n"


def test_children_end_and_their_folder_goes_when_the_parent_is_killed(redis_server: Redis) -> None:
    """kill -9 of the parent leaves neither a process nor a folder behind."""
    script = (
        "import time\n"
        "from antiphon.devservices.redis import LocalRedis, find_redis\n"
        "server = LocalRedis(find_redis()); server.start()\n"
        "print(server.port, server.url, server.folder, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    port, url, folder = parent.stdout.readline().split()
    assert ask_redis(url, "PING") == b"+PONG\r\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not Path(folder).exists())
    assert eventually(lambda: not accepts(int(port)))  # the kill is told before the process has ended


def test_a_server_that_does_not_start_says_what_it_wrote(own_redis: LocalRedis) -> None:
    """The error carries the end of the server's own log."""
    own_redis.port = 99_999_999
    with pytest.raises(ServiceUnavailable, match=r"redis ended with 1:[\s\S]*port"):
        own_redis.start()
    own_redis.close()
    assert not own_redis.folder.exists()


def test_ports_are_free_different_and_outside_the_range_of_outgoing_connections() -> None:
    """A reconnecting client can't be given the port of a server that is down for a moment."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(FIRST <= port < LAST for port in ports)
    assert not any(accepts(port) for port in ports)


def test_a_port_is_given_to_one_process_only() -> None:
    """A node listens seconds after its ports were chosen: until then another process must not choose them."""
    script = (
        "import random\n"
        "from antiphon.devservices.ports import free_ports\n"
        "print(*free_ports(5, rng=random.Random(7)))\n"
    )
    (mine,) = free_ports(1, rng=random.Random(7))
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    theirs = [int(port) for port in said.split()]
    assert len(theirs) == 5
    assert mine not in theirs
    with socket.socket() as server:  # a server of ours gets it: it binds as servers do
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", mine))
        server.listen()
        assert accepts(mine)


def test_addresses_in_the_environment_are_used_but_never_stopped() -> None:
    """Whoever gave ANTIPHON_TEST_* runs the servers; restarting them is refused with the variable's name."""
    environment = {
        "ANTIPHON_TEST_AMQP_URL": "amqp://a:b@rabbit.test:1234/",
        "ANTIPHON_TEST_DATABASE_URL": "postgresql+asyncpg://u:p@db.test:5432/any",
        "ANTIPHON_TEST_REDIS_URL": "redis://cache.test:6379/3",
    }
    with DevServices(environment) as services:
        assert services.rabbit.url == "amqp://a:b@rabbit.test:1234/"
        assert services.rabbit.management_url == "http://rabbit.test:15672"
        assert services.postgres.url("mine") == "postgresql+asyncpg://u:p@db.test:5432/mine"
        assert services.redis.url == "redis://cache.test:6379/3"
        for service in (services.rabbit, services.postgres, services.redis):
            with pytest.raises(ServiceUnavailable, match="ANTIPHON_TEST_"):
                service.restart()
            with pytest.raises(ServiceUnavailable, match="ANTIPHON_TEST_"):
                service.kill()


def test_a_missing_binary_that_cannot_be_installed_is_a_clear_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the package and the other way out."""
    monkeypatch.setattr(debian, "can_install", lambda: False)
    with pytest.raises(ServiceUnavailable, match=r"rabbitmq-server not found.*ANTIPHON_TEST_AMQP_URL"):
        install(["rabbitmq-server"])


def test_a_failed_installation_says_what_apt_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """apt-get's own words are in the reason, and no policy file stays behind."""
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(debian, "can_install", lambda: True)
    monkeypatch.setattr(debian, "POLICY", tmp_path / "policy")
    with pytest.raises(ServiceUnavailable, match="Unable to locate package"):
        install(["nonsense"])
    assert not (tmp_path / "policy").exists()


def test_the_newest_version_of_a_binary_is_taken(tmp_path: Path) -> None:
    """17 is newer than 9.6, whatever their order as text."""
    for version in ("9.6", "17", "15"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        (folder / "postgres").touch()
    assert find("postgres", [f"{tmp_path}/*/bin/postgres"]) == tmp_path / "17" / "bin" / "postgres"


def test_the_command_prints_the_settings_and_stays_until_it_is_ended(postgres: Postgres) -> None:
    """`python -m antiphon.devservices` gives export lines and a fresh database, and SIGTERM ends it well."""
    with running_command(postgres.url("any")) as command:
        assert command.stdout is not None
        lines = [command.stdout.readline().strip() for _ in range(3)]
        assert lines[0] == "export ANTIPHON_AMQP_URL=amqp://rabbit.test/"
        assert lines[2] == "export ANTIPHON_REDIS_URL=redis://redis.test"
        database = lines[1].partition("=")[2]
        assert psql(database, "SELECT 1") == "1"
        command.send_signal(signal.SIGTERM)
        assert command.wait(15) == 0


def test_the_command_ends_with_the_reason_when_a_service_cannot_be_had() -> None:
    """Nobody waits for what will never come: exit code 1, and the reason on stderr."""
    with running_command("postgresql://u@127.0.0.1:1/any") as command:
        _, said = command.communicate(timeout=15)
        assert command.returncode == 1
        assert "PostgreSQL refused" in said


@contextlib.contextmanager
def running_command(database_url: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        "ANTIPHON_TEST_AMQP_URL": "amqp://rabbit.test/",
        "ANTIPHON_TEST_DATABASE_URL": database_url,
        "ANTIPHON_TEST_REDIS_URL": "redis://redis.test",
    }
    arguments = [sys.executable, "-m", "antiphon.devservices"]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, env=environment, stdout=pipe, stderr=pipe, text=True) as command:
        yield command
