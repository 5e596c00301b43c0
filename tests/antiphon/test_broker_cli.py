"""``antiphon broker``: provisioning as an operator does it, and the whole ride on what it made."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from antiphon.cli import main
from antiphon.devservices import LocalRabbit, Postgres, Rabbit, Redis
from antiphon.rooms import open_rooms
from antiphon.settings import Settings
from contracts.errors import ConfigurationError
from examples.ride.demo.client import Gateway
from examples.ride.demo.house import APP, ROOT, House, free_port
from examples.ride.demo.roles import Places, environment, start_roles
from examples.ride.demo.sink import Sink
from examples.ride.demo.tour import Tour
from examples.ride.trips import SAMPLE, read_trips
from tests.antiphon.provisioned import management_url

PARTITIONS = "2"


@dataclass
class Operator:
    """Runs ``antiphon broker`` against one vhost."""

    environment: dict[str, str]
    vhost: str

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "antiphon", "broker", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        return done

    def provision(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("provision", APP, *arguments, code=code)


@pytest.fixture
def operator(rabbit: Rabbit) -> Iterator[Operator]:
    with rabbit.vhost() as url:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
        settings = {
            "ANTIPHON_AMQP_URL": url,
            "ANTIPHON_MANAGEMENT_URL": management_url(rabbit),
            "ANTIPHON_PARTITIONS": PARTITIONS,
        }
        yield Operator({**kept, **settings}, urlsplit(url).path[1:])


def test_again_changes_nothing_and_rotating_changes_one(operator: Operator, tmp_path: Path) -> None:
    """A dry run, the first time, again, a rotation; passwords are written once and kept."""
    to = tmp_path / "logins"
    would = operator.provision("--to", str(to), "--dry-run", "--rotate", "all").stderr
    assert "would make queue reactor.notify\n" in would
    assert not to.exists()
    # Users belong to the whole broker, so another test may have made them: new passwords for all.
    operator.provision("--to", str(to), "--rotate", "all")
    before = {path.name: path.read_text() for path in to.iterdir()}
    assert sorted(before) == [
        "gateway.env",
        "operator.env",
        "orchestrator.env",
        "payments.env",
        "reactors.env",
    ]
    assert {path.stat().st_mode & 0o777 for path in to.iterdir()} == {0o600}
    assert operator.provision("--to", str(to)).stderr == "nothing to change\n"
    assert json.loads(operator.provision("--to", str(to), "--json").stdout)["changes"] == []
    elsewhere = operator.provision("--to", str(to), "--amqp", "amqp://elsewhere:5672", "--dry-run").stderr
    assert elsewhere.splitlines()[0] == f"would change the address in {to / 'gateway.env'}"
    other = operator.provision("--to", str(tmp_path / "other"), "--json")
    assert "no login of gateway, orchestrator, reactors, operator, payments in" in other.stderr
    assert "--rotate payments gives new ones" in other.stderr
    assert json.loads(other.stdout)["without_login"][0] == "gateway"
    rotated = json.loads(operator.provision("--to", str(to), "--rotate", "payments", "--json").stdout)
    assert rotated["changes"] == ["change user ride.payments"]
    after = {path.name: path.read_text() for path in to.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"payments.env"}
    told = operator.provision("--rotate", "payments").stdout.splitlines()
    assert told[0] == "# payments"
    assert told[1].startswith("ANTIPHON_AMQP_URL=amqp://ride.payments:")


def test_the_printed_command_does_the_same(operator: Operator, rabbit: Rabbit, tmp_path: Path) -> None:
    """What --print prints, run by a shell, leaves nothing for the management API to change."""
    if not isinstance(rabbit, LocalRabbit):
        pytest.skip("rabbitmqctl reaches only a broker of our own")
    to = str(tmp_path / "it's here")
    printed = operator.provision("--print", "--to", to, "--rotate", "all").stdout
    assert shlex.split(printed)[-4:] == ["rabbitmqctl", "import_definitions", "--format", "json"]
    assert not any(line in printed for line in (tmp_path / "it's here" / "gateway.env").read_text().split())
    path = f"{rabbit.script.parent}:{os.environ['PATH']}"
    for _ in range(2):
        done = subprocess.run(
            ["/bin/sh", "-euc", printed],
            env={**rabbit.environment(), "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert operator.provision("--to", to).stderr == "nothing to change\n"


def test_mistakes_are_told_in_a_line(operator: Operator, tmp_path: Path) -> None:
    """What is missing or wrong is said with what to do about it."""
    assert "needs a folder" in operator.provision("--print", code=2).stderr
    assert "is not like" in operator.provision("--may", "billing", code=2).stderr
    assert "no role nobody to rotate" in operator.provision("--rotate", "nobody", code=2).stderr
    wrong = operator.provision("--url", "http://guest:wrong@127.0.0.1:1/", code=1).stderr
    assert "does not answer" in wrong
    assert "guest:wrong" not in wrong, "a password is nobody's to read"
    assert "user ride.payments\n" in operator.run("plan", APP).stdout


def test_the_printed_command_is_all_or_nothing(tmp_path: Path) -> None:
    """--print alone: a script of a dry run would set passwords that nobody has, and none is JSON."""
    to = tmp_path / "logins"
    for option in ("--dry-run", "--json"):
        done = _printing(to, option, "--amqp", "amqp://mq:5672")
        assert (done.exit_code, done.stdout) == (2, "")
        assert "not together with" in done.stderr
    assert not to.exists()


@pytest.mark.parametrize(
    "amqp", ["mq:5672", "amqp://", "amqp://mq:port", "http://mq:5672", "amqp://a,b:5672"]
)
def test_a_login_with_which_nobody_could_connect_is_not_written(tmp_path: Path, amqp: str) -> None:
    """Nothing else would tell: the broker never hears of the address."""
    done = _printing(tmp_path / "logins", "--amqp", amqp)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is like amqp://host:5672" in done.stderr
    assert not (tmp_path / "logins").exists()


def test_another_address_reaches_the_logins_that_are_kept(tmp_path: Path) -> None:
    """With TLS, or with more nodes: each file says so from then on, with the password that it had."""
    to = tmp_path / "logins"
    first = _printing(to, "--vhost", "prod", "--amqp", "amqp://mq:5672").stdout
    before = {path.name: path.read_text() for path in to.iterdir()}
    nodes = "amqps://a:5671,amqps://b:5671"
    assert _printing(to, "--vhost", "prod", "--amqp", nodes).stdout == first, "nothing is new to the broker"
    for name, text in before.items():
        password = text.partition("@")[0].rpartition(":")[2]
        assert (to / name).read_text().count(f":{password}@") == 2
        assert "amqps://" in (to / name).read_text()
    after = {path.name: path.read_text() for path in to.iterdir()}
    refused = _printing(to, "--vhost", "stage", "--amqp", "amqp://mq:5672")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "is the login of the vhost 'prod', not of 'stage': name another folder" in refused.stderr
    assert {path.name: path.read_text() for path in to.iterdir()} == after


def _printing(to: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["broker", "provision", APP, "--print", "--to", str(to), *arguments])


async def test_all_roles_in_one_process_have_no_login(tmp_path: Path) -> None:
    """``antiphon up`` on a provisioned broker is refused before anything is opened, with what to do."""
    settings = Settings.load(amqp_url="amqp://ride.gateway:x@localhost/", broker="provisioned", home=tmp_path)
    with pytest.raises(ConfigurationError, match="start the roles apart"):
        async with open_rooms(settings, "up", alone=True):
            raise AssertionError("the rooms were opened")
    assert list(tmp_path.iterdir()) == []


@dataclass
class ProvisionedHouse(House):
    """The ride's processes, each with the settings of its own login and no other."""

    logins: Path = Path()

    def start(self, name: str, *arguments: str) -> None:
        login = self.logins / f"{arguments[-1] if arguments[0] == 'service' else arguments[0]}.env"
        lines = login.read_text().splitlines() if login.exists() else []
        shared = self.environment
        self.environment = {**shared, **dict(line.split("=", 1) for line in lines)}
        super().start(name, *arguments)
        self.environment = shared


def _mails(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "mailbox.sqlite")) as box:
        return int(box.execute("SELECT count(*) FROM mailbox").fetchone()[0])


async def test_the_ride_runs_on_a_provisioned_broker(
    operator: Operator, postgres: Postgres, redis_server: Redis, tmp_path: Path
) -> None:
    """Gateway, orchestrators, reactors and service, each with its own login: all trips end."""
    logins = tmp_path / "logins"
    await asyncio.to_thread(operator.provision, "--to", str(logins), "--rotate", "all")
    sink = Sink(tmp_path / "mailbox.sqlite")
    await sink.start()
    places = Places(
        tmp_path, tmp_path / "ledger.sqlite", sink.address, free_port(), "a-key-of-these-tests-and-no-other"
    )
    settings = {
        **environment(places, None),
        "ANTIPHON_DATABASE_URL": await asyncio.to_thread(postgres.create_database),
        "ANTIPHON_REDIS_URL": redis_server.url,
        "ANTIPHON_PARTITIONS": PARTITIONS,
    }
    house = ProvisionedHouse(tmp_path, settings, logins=logins)
    trips = list(read_trips(SAMPLE, 12))
    try:
        await asyncio.to_thread(start_roles, house)
        async with Gateway(f"http://127.0.0.1:{places.port}", places.key) as gateway:
            await house.ready(gateway, 60.0)
            outcome = await Tour(gateway, concurrency=12, rate=None, told=lambda what: None).go(trips)
            house.check()
        assert set(outcome.ended) <= {"completed", "compensated"}
        assert outcome.ended["completed"] > 0
        assert outcome.ended.total() == len(trips)
        async with asyncio.timeout(20):  # reactions come after their ride
            while _mails(tmp_path) < outcome.ended["completed"]:
                await asyncio.sleep(0.1)
        told = "".join(log.read_text(errors="replace") for log in tmp_path.glob("*.log"))
        assert "ACCESS_REFUSED" not in told
    finally:
        await asyncio.to_thread(house.stop)
        await sink.stop()
