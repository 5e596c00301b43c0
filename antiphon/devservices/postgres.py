"""A real PostgreSQL cluster on a free port, with fsync and synchronous_commit on."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from antiphon.devservices.errors import ServiceUnavailable
from antiphon.devservices.packages import find
from antiphon.devservices.ports import free_ports
from antiphon.devservices.process import Command, LocalService, RemoteService

__all__ = ["LocalPostgres", "Postgres", "RemotePostgres", "find_postgres", "recovery_settings"]

FOLDERS = ("/usr/lib/postgresql/*/bin/", "/usr/pgsql-*/bin/", "/opt/homebrew/opt/postgresql*/bin/")
DRIVER = "postgresql+asyncpg"


def find_postgres() -> Path | None:
    """The ``postgres`` binary, when ``initdb`` is beside it (or beside what it is a link to)."""
    found = find("postgres", [folder + "postgres" for folder in FOLDERS])
    if found is None:
        return None
    real = found.resolve()
    return real if (real.parent / "initdb").exists() else None


def _psql() -> Path:
    found = find("psql", [folder + "psql" for folder in FOLDERS])
    if found is None:
        raise ServiceUnavailable("psql not found; install PostgreSQL's client (Debian: postgresql-client)")
    return found


class Postgres:
    """How to reach a server: URLs for SQLAlchemy with asyncpg, one database for each that asks."""

    base: str  # postgresql://user@host:port, no database

    def url(self, database: str) -> str:
        """The URL of one database."""
        return f"{self.base}/{database}".replace("postgresql://", f"{DRIVER}://", 1)

    def create_database(self, template: str | None = None) -> str:
        """Make a database, empty or a copy of the one at the URL ``template``; its URL.

        It goes with the server's folder. Nobody may be connected to the template.
        """
        name = f"t_{secrets.token_hex(6)}"
        copied = f" TEMPLATE {template.rpartition('/')[2]}" if template else ""
        self._sql(f"CREATE DATABASE {name}{copied}")
        return self.url(name)

    def _sql(self, statement: str) -> None:
        command = [str(_psql()), "--no-psqlrc", "--quiet", "--dbname", f"{self.base}/postgres"]
        done = subprocess.run(  # noqa: S603 - our own statement, no shell
            [*command, "--command", statement], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise ServiceUnavailable(f"PostgreSQL refused {statement!r}: {done.stderr.strip()[-400:]}")


class RemotePostgres(RemoteService, Postgres):
    """A server that ANTIPHON_TEST_DATABASE_URL points at; its user may create databases."""

    name = "PostgreSQL"
    variable = "ANTIPHON_TEST_DATABASE_URL"

    def __init__(self, url: str) -> None:
        self.base = urlsplit(url)._replace(scheme="postgresql", path="", query="", fragment="").geturl()
        self._made: list[str] = []

    def create_database(self, template: str | None = None) -> str:
        url = super().create_database(template)
        self._made.append(url.rpartition("/")[2])
        return url

    def close(self) -> None:
        """Drop the databases we made: they are ours, the server is not."""
        while self._made:
            self._sql(f"DROP DATABASE IF EXISTS {self._made.pop()} WITH (FORCE)")


class LocalPostgres(LocalService, Postgres):
    """A cluster of our own; user postgres, no password, loopback only.

    ``tls``: a folder with ``ca.pem``, ``server.pem`` and ``server.key``; then it takes TLS on its port, too.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast shutdown": sessions are cut, what is committed stays

    def __init__(self, binary: Path, *, tls: Path | None = None) -> None:
        super().__init__()
        self.binary = binary
        self.tls = tls
        self._recovery = recovery_settings(binary)
        self.user = _unprivileged()
        self.data = self.folder / "data"
        (self.port,) = free_ports(1)
        self.base = f"postgresql://postgres@127.0.0.1:{self.port}"

    def command(self) -> Command:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "max_wal_size": "512MB",
            **self._recovery,
        }
        if self.tls is not None:
            settings |= {"ssl": "on", "ssl_ca_file": "ca.pem", "ssl_cert_file": "server.pem"}
            settings |= {"ssl_key_file": "server.key"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Command([self.binary, "-D", self.data, *options], user=self.user)

    def start(self) -> None:
        """Make the cluster the first time, then start it; after a kill, wait for the old backends to go."""
        if not self.data.exists():
            self._initialise()
        ends = time.monotonic() + self.start_seconds
        while True:
            self.log.write_bytes(b"")
            try:
                return super().start()
            except ServiceUnavailable:
                # Backends notice a killed postmaster within moments; until then its memory block is in use.
                if "is still in use" not in self.tail(100) or time.monotonic() > ends:
                    raise
                time.sleep(0.1)

    def ready(self) -> bool:
        """Whether the postmaster wrote ``ready`` into its pid file (as ``pg_ctl --wait`` reads it)."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _initialise(self) -> None:
        if self.user is not None:
            self.folder.chmod(0o755)
            self.data.mkdir(mode=0o700)
            os.chown(self.data, *self.user)
        arguments = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command: list[str | Path] = [self.binary.parent / "initdb", "-D", self.data, *arguments]
        code = self.run(Command(command, user=self.user), self.start_seconds)
        if code != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise ServiceUnavailable(f"initdb ended with {code}:\n{self.tail()}")
        if self.tls is not None:
            self._take_files(self.tls)

    def _take_files(self, tls: Path) -> None:
        """PostgreSQL takes a key only that its own user alone can read."""
        for name in ("ca.pem", "server.pem", "server.key"):
            copy = self.data / name
            shutil.copyfile(tls / name, copy)
            copy.chmod(0o600)
            if self.user is not None:
                os.chown(copy, *self.user)


def _unprivileged() -> tuple[int, int] | None:
    """Who runs the server when we are root, whom PostgreSQL refuses: postgres, else nobody."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise ServiceUnavailable("PostgreSQL refuses to run as root, and neither user postgres nor nobody exists")


def recovery_settings(binary: Path) -> dict[str, str]:
    """After a kill, sync the file system at once, where that can be had (PostgreSQL manual 20.14).

    File by file takes seconds for a few hundred databases, and a minute while others use the disk.
    """
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    found = re.search(r" (\d+)", said.stdout)
    new = found is not None and int(found[1]) >= 14
    return {"recovery_init_sync_method": "syncfs"} if new and sys.platform == "linux" else {}
