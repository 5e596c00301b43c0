"""Keys on disk and on the command line: made, read again when they change, never shown."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from antiphon.cli import main
from antiphon.keys import ROLES, KeyFolder, KeyMaker, role_of
from antiphon.keys.folder import KEYRING, private_name, read_private
from antiphon.settings import Settings
from antiphon.signing import operators_bus, signed_bus
from bus.embedded import EmbeddedBus
from bus.signed import SignedBus
from contracts.errors import ConfigurationError
from store.database import Database


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["keys", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def listed(folder: Path) -> list[dict[str, Any]]:
    return list(orjson.loads(run("list", "--dir", str(folder), "--json")))


def test_no_keys_are_told_as_such(tmp_path: Path) -> None:
    """With where they would be, and how to make them; for machines it is an empty list."""
    made = f"no keys in {tmp_path}: make them with 'antiphon keys init MODULE:APP'\n"
    assert run("list", "--dir", str(tmp_path)) == made
    assert listed(tmp_path) == []


def test_init_makes_what_an_app_needs_and_only_once(tmp_path: Path) -> None:
    """A key for each role and service; again it changes nothing."""
    first = run("init", "examples.ride.app:app", "--dir", str(tmp_path))
    assert run("init", "examples.ride.app:app", "--dir", str(tmp_path)) == first
    names = {key["kid"]: key["algorithm"] for key in listed(tmp_path)}
    assert names == dict.fromkeys(
        ("gateway/1", "operator/1", "orchestrator/1", "payments/1", "reactors/1"), "ed25519"
    )


def test_private_files_are_for_their_owner_and_secrets_are_not_told(tmp_path: Path) -> None:
    """Neither the keyring nor any command's output has a secret in it."""
    told = run("new", "payments", "--dir", str(tmp_path)) + run(
        "new", "dev", "--hmac", "--dir", str(tmp_path)
    )
    told += run("list", "--dir", str(tmp_path), "--json") + (tmp_path / KEYRING).read_text()
    for kid in ("payments/1", "dev/1"):
        path = tmp_path / private_name(kid)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert orjson.loads(path.read_bytes())["secret"] not in told


def test_a_producer_must_be_told_what_it_may_say(tmp_path: Path) -> None:
    """Nobody outside the house gets a key for everything by leaving something out."""
    run("new", "billing", "--role", "producer", "--dir", str(tmp_path), code=2)
    arguments = ("--source", "/acme/billing", "--type", "bill.**", "--workspace", "acme")
    run("new", "billing", *arguments, "--dir", str(tmp_path))
    (key,) = listed(tmp_path)
    assert (key["sources"], key["types"], key["workspaces"], key["hops"]) == (
        ["/acme/billing"],
        ["bill.**"],
        ["acme"],
        [],
    )
    assert key["exchanges"] == ["antiphon.events"]


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "a" * 64, "-a"])
def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    """It becomes the name of a file."""
    with pytest.raises(ConfigurationError):
        KeyMaker(tmp_path).new(name, ROLES["service"]("x"))
    assert list(tmp_path.iterdir()) == []


def test_a_rotation_overlaps(tmp_path: Path) -> None:
    """The old key signs until the new one is known everywhere, and verifies for as long as was asked."""
    clock, ticks = Clock(), Clock()
    maker = KeyMaker(tmp_path, clock=clock)
    maker.new("payments", ROLES["service"]("payments"))
    folder = KeyFolder(tmp_path, "payments", clock=clock, monotonic=ticks)

    def signs() -> str:
        ticks.now += 2
        key = folder.signing_key()
        assert key is not None
        return key.kid

    maker.rotate("payments", overlap=100, activate_in=10)
    assert signs() == "payments/1"
    clock.now += 10
    assert signs() == "payments/2"
    old = folder.keyring().get("payments/1")
    assert old is not None
    assert old.standing(clock.now + 99) == "valid"
    assert old.standing(clock.now + 100) == "expired"
    new = folder.keyring().get("payments/2")
    assert new is not None
    assert new.rights == old.rights


def test_a_rotation_never_lengthens_a_key(tmp_path: Path) -> None:
    """Nor does a second one: what was to end soon ends then."""
    clock = Clock()
    maker = KeyMaker(tmp_path, clock=clock)
    maker.new("payments", ROLES["service"]("payments"))
    maker.rotate("payments", overlap=10, activate_in=0)
    maker.rotate("payments", overlap=1000, activate_in=0)
    ends = [key.not_after for key in maker.list()]
    assert ends == [clock.now + 10, clock.now + 1000, None]


def test_a_rotation_of_more_than_a_century_is_refused(tmp_path: Path) -> None:
    """No calendar has its end; nothing is written."""
    folder = ("--dir", str(tmp_path))
    run("init", "examples.ride.app:app", *folder)
    before = sorted(tmp_path.rglob("*"))
    told = run("rotate", "gateway", "--overlap", "99999999999d", *folder, code=2)
    assert "more than a hundred years" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_a_revoked_key_signs_no_more(tmp_path: Path) -> None:
    """The process falls back to nothing, not to another key."""
    clock, ticks = Clock(), Clock()
    maker = KeyMaker(tmp_path, clock=clock)
    maker.new("payments", ROLES["service"]("payments"))
    folder = KeyFolder(tmp_path, "payments", clock=clock, monotonic=ticks)
    maker.revoke("payments/1")
    ticks.now += 2
    assert folder.signing_key() is None
    assert maker.revoke("payments/1").revoked_at == clock.now
    with pytest.raises(ConfigurationError, match="payments/1"):
        maker.revoke("payments/9")


def test_a_keyring_that_breaks_leaves_the_last_good_one(tmp_path: Path) -> None:
    """A half-edited file neither stops a process nor opens it."""
    ticks = Clock()
    maker = KeyMaker(tmp_path)
    maker.new("payments", ROLES["service"]("payments"))
    folder = KeyFolder(tmp_path, "payments", monotonic=ticks)
    (tmp_path / KEYRING).write_text('{"version": "1", "keys": [{}]}')
    ticks.now += 2
    assert folder.keyring().get("payments/1") is not None
    assert folder.signing_key() is not None
    with pytest.raises(ConfigurationError, match=r"keyring\.json"):
        KeyFolder(tmp_path, "payments")


def test_a_shared_secret_may_come_after_its_keyring(tmp_path: Path) -> None:
    """Where a folder is copied in the order of its names: it verifies once it is there."""
    ticks = Clock()
    home, copied = tmp_path / "home", tmp_path / "copied"
    copied.mkdir()
    KeyMaker(home).new("payments", ROLES["service"]("payments"), hmac=True)
    folder = KeyFolder(copied, "gateway", monotonic=ticks)
    for name, known in ((KEYRING, "absent"), (private_name("payments/1"), "valid")):
        (copied / name).write_bytes((home / name).read_bytes())
        for _ in range(2):
            ticks.now += 2
            key = folder.keyring().get("payments/1")
        assert key is not None
        assert key.standing(key.not_before + 1) == known


def test_a_keyring_that_is_gone_leaves_the_last_one(tmp_path: Path) -> None:
    """While a volume is away, what comes in is not quarantined as of keys that nobody knows."""
    ticks = Clock()
    maker = KeyMaker(tmp_path)
    maker.new("payments", ROLES["service"]("payments"))
    folder = KeyFolder(tmp_path, "payments", monotonic=ticks)
    kept = (tmp_path / KEYRING).read_bytes()
    (tmp_path / KEYRING).unlink()
    ticks.now += 2
    assert folder.keyring().get("payments/1") is not None
    assert folder.signing_key() is not None
    (tmp_path / KEYRING).write_bytes(kept)
    maker.new("post", ROLES["service"]("post"))
    ticks.now += 2
    assert folder.keyring().get("post/1") is not None


@pytest.mark.parametrize("text", ['{"version": "1", "keys": 5}', '{"version": "1", "keys": {}}', "5", "[5"])
def test_what_is_no_keyring_is_told_with_its_file(tmp_path: Path, text: str) -> None:
    """Whatever is in it."""
    (tmp_path / "keyring.json").write_text(text)
    assert "keyring.json: " in run("list", "--dir", str(tmp_path), code=2)


def test_a_keyring_is_read_once_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file itself is the same: its owner was wrong, or the disk it is on did not answer."""
    ticks = Clock()
    maker = KeyMaker(tmp_path)
    maker.new("payments", ROLES["service"]("payments"))
    folder = KeyFolder(tmp_path, "payments", monotonic=ticks)
    maker.revoke("payments/1")

    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(Path, "read_bytes", refused)
        for _ in range(3):
            ticks.now += 2
            assert folder.signing_key() is not None
    assert [line["event"] for line in logs] == ["keyring_not_read"], "once for each change"
    ticks.now += 2
    revoked = folder.keyring().get("payments/1")
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert folder.signing_key() is None


def test_an_unknown_key_is_looked_for_at_once(tmp_path: Path) -> None:
    """Without waiting for the next look, yet not again and again."""
    ticks = Clock()
    maker = KeyMaker(tmp_path)
    maker.new("payments", ROLES["service"]("payments"))
    folder = KeyFolder(tmp_path, "payments", monotonic=ticks)
    maker.new("post", ROLES["service"]("post"))
    ticks.now += 0.3
    assert folder.keyring().get("post/1") is None
    assert folder.look_again().get("post/1") is not None
    maker.new("later", ROLES["service"]("later"))
    assert folder.look_again().get("later/1") is None


def test_a_private_key_may_be_elsewhere(tmp_path: Path) -> None:
    """A mounted secret signs when the keyring knows it."""
    maker = KeyMaker(tmp_path / "ring")
    key = maker.new("payments", ROLES["service"]("payments"))
    secret = tmp_path / "secret"
    (tmp_path / "ring" / private_name(key.kid)).rename(secret)
    assert KeyFolder(tmp_path / "ring", "payments").signing_key() is None
    found = KeyFolder(tmp_path / "ring", "payments", private=secret).signing_key()
    assert found == read_private(secret)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kid":"a/1","algorithm":"ed25519","secret":"AA=="}'])
def test_a_broken_private_file_is_told_without_its_contents(tmp_path: Path, text: str) -> None:
    """The message names the file."""
    path = tmp_path / "a.1.key"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as wrong:
        read_private(path)
    assert "AA==" not in str(wrong.value)


async def embedded() -> EmbeddedBus:
    return EmbeddedBus(await Database.open("sqlite://"))


async def test_a_house_in_one_process_makes_its_own_key(tmp_path: Path) -> None:
    """At the first start, for its owner only; the second start finds it."""
    settings = Settings(home=tmp_path)
    first = signed_bus(settings, await embedded(), "up", alone=True)
    assert isinstance(first, SignedBus)
    path = tmp_path / "keys" / "development.1.key"
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    signed_bus(settings, await embedded(), "up", alone=True)
    assert path.read_bytes() == before
    assert isinstance(operators_bus(settings, await embedded()), SignedBus)


async def test_a_role_without_a_key_does_not_start_unless_it_may(tmp_path: Path) -> None:
    """Strict says what to do; permissive and off start."""
    with pytest.raises(ConfigurationError, match="antiphon keys init"):
        signed_bus(Settings(home=tmp_path), await embedded(), "gateway", alone=False)
    with pytest.raises(ConfigurationError, match="antiphon keys new"):
        operators_bus(Settings(home=tmp_path), await embedded())
    bus = await embedded()
    assert isinstance(
        signed_bus(Settings(home=tmp_path, signing="permissive"), bus, "gateway", alone=False), SignedBus
    )
    assert signed_bus(Settings(home=tmp_path, signing="off"), bus, "gateway", alone=False) is bus


def test_what_is_called_like_no_role_is_a_service() -> None:
    """It may answer for itself, and put nothing on another's queue."""
    assert [role_of(name) for name in ("gateway", "payments", "producer")] == [
        "gateway",
        "service",
        "service",
    ]
    rights = ROLES[role_of("payments")]("payments")
    assert rights.sources.allow("/services/payments")
    assert not rights.sources.allow("/services/payments2")
    assert rights.hops.allow("service.payments")
    assert not rights.hops.allow("service.post")
