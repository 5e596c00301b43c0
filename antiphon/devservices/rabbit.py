"""A real RabbitMQ node on free ports, with its own cookie, data, log, plugins file and port mapper (epmd)."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from antiphon.devservices.errors import ServiceUnavailable
from antiphon.devservices.packages import find
from antiphon.devservices.ports import accepts, free_ports
from antiphon.devservices.process import Command, LocalService, RemoteService

__all__ = ["PORTS", "LocalRabbit", "Rabbit", "RemoteRabbit", "find_rabbit"]

PORTS = 5  # that a node listens on
_EPMD_SECONDS = 20.0  # s: until the port mapper answers, on a machine that is busy

# The plain script first: Debian's /usr/sbin/rabbitmq-server insists on the user rabbitmq and system folders.
SCRIPTS = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
    "/opt/rabbitmq*/sbin/rabbitmq-server",
)

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
collect_statistics_interval = 1000
log.console = false
log.file.level = warning
disk_free_limit.absolute = 100MB
raft.wal_max_size_bytes = 64000000
"""
CLUSTER_CONFIGURATION = """\
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = {first}
cluster_formation.classic_config.nodes.2 = {second}
cluster_partition_handling = pause_minority
"""
TLS_CONFIGURATION = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""


def find_rabbit() -> Path | None:
    """The script that runs a node in the foreground, when Erlang is there too."""
    return find("rabbitmq-server", SCRIPTS) if find("erl") else None


class Rabbit:
    """How to reach a broker. ``url`` is its default vhost's; ``management_url`` has no slash at its end."""

    url: str
    management_url: str | None

    @contextlib.contextmanager
    def vhost(self) -> Iterator[str]:
        """A fresh vhost for one test; its AMQP URL. Deleted afterwards, with its queues and connections."""
        name = f"t-{secrets.token_hex(6)}"
        user = quote(urlsplit(self.url).username or "guest", safe="")
        self.manage("PUT", f"/api/vhosts/{name}")
        self.manage("PUT", f"/api/permissions/{name}/{user}", b'{"configure":".*","write":".*","read":".*"}')
        parts = urlsplit(self.url)
        try:
            yield parts._replace(path=f"/{name}").geturl()
        finally:
            # A broker that the test left stopped keeps the vhost in a folder that is thrown away with it.
            with contextlib.suppress(ConnectionRefusedError):
                self.manage("DELETE", f"/api/vhosts/{name}", patience=0.0)

    def manage(self, method: str, path: str, body: bytes = b"", *, patience: float = 15.0) -> bytes:
        """Ask the management API, again for that many seconds while the node may still be starting.

        Its listener is there before its users and its store are, so that early requests meet 401 and 5xx.
        Raises ServiceUnavailable with its last answer, or the OSError of the last attempt.
        """
        ends = time.monotonic() + patience
        while True:
            over = time.monotonic() >= ends
            try:
                status, text = self._ask(method, path, body)
            except (OSError, http.client.HTTPException):
                if over:
                    raise
            else:
                if status < 300:
                    return text
                if over or not (status == 401 or status >= 500):
                    raise ServiceUnavailable(f"RabbitMQ answered {status} to {method} {path}: {text[:200]!r}")
            time.sleep(0.1)

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self.management_url is None:
            raise ServiceUnavailable(
                "a fresh vhost needs RabbitMQ's management API: set ANTIPHON_TEST_MANAGEMENT_URL (http://host:15672)"
            )
        target, account = urlsplit(self.management_url), urlsplit(self.url)
        token = base64.b64encode(
            f"{account.username or 'guest'}:{account.password or 'guest'}".encode()
        ).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(
            target.hostname or "127.0.0.1", target.port or 15672, timeout=30
        )
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class RemoteRabbit(RemoteService, Rabbit):
    """A broker that ANTIPHON_TEST_AMQP_URL points at."""

    name = "RabbitMQ"
    variable = "ANTIPHON_TEST_AMQP_URL"

    def __init__(self, url: str, management_url: str | None) -> None:
        self.url = url
        self.management_url = management_url


class LocalRabbit(LocalService, Rabbit):
    """A broker of our own; user and password are guest.

    ``tls``: a folder with ``ca.pem``, ``server.pem`` and ``server.key``; then ``tls_url`` is there too, for
    clients that show a certificate of that CA. ``beside``: a node that runs, whose cluster this one joins at
    its first start; they share cookie and port mapper, so that one is closed last. ``ports``: five that are
    its own, where several nodes are made before the first one listens.
    """

    name = "rabbitmq"

    def __init__(
        self,
        script: Path,
        *,
        tls: Path | None = None,
        beside: LocalRabbit | None = None,
        ports: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.script = script
        self.tls = tls
        self.beside = beside
        ports = free_ports(PORTS) if ports is None else ports
        self.amqp_port, self.management_port, self.epmd_port, self.cluster_port, self.tls_port = ports
        self.node = f"antiphon-{self.amqp_port}@localhost"
        if beside is not None:
            self.epmd_port = beside.epmd_port
        self.tls_url = f"amqps://guest:guest@localhost:{self.tls_port}/"
        self.url = f"amqp://guest:guest@127.0.0.1:{self.amqp_port}/"
        self.management_url = f"http://127.0.0.1:{self.management_port}"
        self._epmd: subprocess.Popen[bytes] | None = None
        self._write_files()

    def _write_files(self) -> None:
        configuration = CONFIGURATION.format(amqp=self.amqp_port, management=self.management_port)
        if self.tls is not None:
            configuration += TLS_CONFIGURATION.format(port=self.tls_port, folder=self.tls)
        if self.beside is not None:
            configuration += CLUSTER_CONFIGURATION.format(first=self.beside.node, second=self.node)
        (self.folder / "rabbitmq.conf").write_text(configuration)
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        cookie = self.folder / ".erlang.cookie"
        shared = None if self.beside is None else self.beside.folder / cookie.name
        cookie.write_text(secrets.token_hex(16) if shared is None else shared.read_text())
        cookie.chmod(0o400)

    def command(self) -> Command:
        return Command([self.script], self.environment())

    def environment(self) -> Mapping[str, str]:
        """What the node runs with, and what ``rabbitmqctl`` needs in order to reach it."""
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))
        }
        return {
            **inherited,
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_DIST_PORT": str(self.cluster_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # Busy-waiting schedulers would eat the processors of the tests that wait for them.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def start(self) -> None:
        """Start the port mapper, then the node: a node that finds none would leave one behind as a daemon."""
        if self.beside is None and (self._epmd is None or self._epmd.poll() is not None):
            epmd = find("epmd", ("/usr/lib/erlang/erts-*/bin/epmd",))
            if epmd is None:
                raise ServiceUnavailable(
                    "Erlang's epmd is not in PATH; install Erlang whole (Debian: erlang-base)"
                )
            arguments: list[str | Path] = [epmd, "-address", "127.0.0.1", "-port", str(self.epmd_port)]
            self._epmd = self.spawn(Command(arguments))
            self._wait_for(self._epmd)
        super().start()

    def _wait_for(self, epmd: subprocess.Popen[bytes]) -> None:
        """Return once nodes can register: one that is refused ends at once."""
        ends = time.monotonic() + _EPMD_SECONDS
        while not accepts(self.epmd_port):
            if epmd.poll() is not None or time.monotonic() > ends:
                raise ServiceUnavailable(
                    f"Erlang's epmd does not answer on port {self.epmd_port}:\n{self.tail()}"
                )
            time.sleep(0.01)

    def ready(self) -> bool:
        """Whether AMQP is greeted and the management API answers."""
        return accepts(self.management_port) and _greets(self.amqp_port)

    def close(self) -> None:
        if self._epmd is not None:
            self.reap(self._epmd, signal.SIGKILL, patience=10.0)
            self._epmd = None
        super().close()


def _greets(port: int) -> bool:
    """Whether the broker answers the AMQP 0-9-1 protocol header with Connection.Start (spec 4.2.2)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
