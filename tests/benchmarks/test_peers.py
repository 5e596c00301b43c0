"""The peers of the benchmarks are installed once, into a folder of their own, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import peers


class Commands:
    """Stands in for pip and npm: what they were asked, and what they do."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.trouble = ""
        self.makes: Path | None = None

    def __call__(self, *command: str) -> str:
        self.asked.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True, exist_ok=True)
        if self.makes is not None:
            self.makes.parent.mkdir(parents=True, exist_ok=True)
            self.makes.touch()
        return self.trouble


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """A bench folder that is not there yet."""
    made = Commands()
    monkeypatch.setattr(peers, "HOME", tmp_path / "bench")
    monkeypatch.setattr(peers, "_run", made)
    peers.python.cache_clear()
    peers.restate.cache_clear()
    yield made
    peers.python.cache_clear()
    peers.restate.cache_clear()


def test_a_clean_folder_gets_the_locked_peers_once(commands: Commands) -> None:
    """By their hashes, into an environment of their own; the next benchmark finds them."""
    home = peers.HOME / "peers"
    assert peers.python() == home / "bin" / "python"
    venv, pip = commands.asked
    assert venv[-1] == str(home)
    assert pip[0] == str(home / "bin" / "python")
    assert pip[-3:] == ("--require-hashes", "-r", str(peers.LOCK))
    peers.python.cache_clear()
    assert peers.python() == home / "bin" / "python"
    assert len(commands.asked) == 2


def test_an_install_that_failed_is_said_and_done_again(commands: Commands) -> None:
    """What was left half done is no environment."""
    commands.trouble = "no route to the registry"
    assert peers.python() == "no route to the registry"
    peers.python.cache_clear()
    commands.trouble = ""
    assert isinstance(peers.python(), Path)


def test_another_lock_is_another_install(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of an older lock is brought up to date."""
    peers.python()
    peers.python.cache_clear()
    lock = tmp_path / "peers.lock"
    lock.write_text("celery==99\n")
    monkeypatch.setattr(peers, "LOCK", lock)
    peers.python()
    assert len(commands.asked) == 4


def test_restates_server_is_found_or_it_is_said_why_not(commands: Commands) -> None:
    """npm gets the package with the server of this machine's kind; there may be none."""
    assert peers.restate() == "its package has no server for this machine"
    peers.restate.cache_clear()
    server = "node_modules/@restatedev/restate-server-linux-x64/bin/restate-server"
    commands.makes = peers.HOME / "npm" / server
    assert peers.restate() == commands.makes
    assert commands.asked[-1][-1] == peers.RESTATE
    peers.restate.cache_clear()
    assert peers.restate() == commands.makes
    assert len(commands.asked) == 2
