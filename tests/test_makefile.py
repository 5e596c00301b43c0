"""The Makefile: what a newcomer types first has to work, or say why it can't."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    # What a make above was told (``make PYTHON=... test``) it tells its children in these.
    told = ("MAKE", "MFLAGS", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    if path is not None:
        environment["PATH"] = path
    command = [shutil.which("make") or "make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone, as far as make can see: no virtual environment yet."""
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def test_make_alone_says_what_there_is(checkout: Path) -> None:
    """Each target has a line, and nothing is installed for it."""
    said = make(checkout)
    assert said.returncode == 0
    assert [line.split()[0] for line in said.stdout.splitlines()] == [
        "help",
        "demo",
        "test",
        "lint",
        "bench",
        "chaos",
        "lock",
        "clean",
    ]
    assert not (checkout / ".venv").exists()


def test_an_old_python_is_refused_in_words(checkout: Path, tmp_path: Path) -> None:
    """A machine whose pythons are all too old hears which it needs, before anything is made."""
    tools = tmp_path / "tools"
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        program(tools, name, "exit 1")
    said = make(checkout, "test", path=f"{tools}:/usr/bin:/bin")
    assert said.returncode != 0
    assert "Python 3.11 or newer" in said.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv_is_told_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    """Debian ships python3 without venv: the message names the package."""
    python = program(
        tmp_path / "tools", "python3", 'case "$1" in -m) exit 1;; --version) echo Python 3.11;; esac'
    )
    said = make(checkout, "test", f"PYTHON={python}")
    assert said.returncode != 0
    assert "python3-venv" in said.stderr


def test_what_is_installed_is_installed_once(checkout: Path, tmp_path: Path) -> None:
    """The first call installs with hashes, the second goes straight to the work; demo adds its own."""
    log = tmp_path / "log"
    inner = f'#!/bin/sh\\necho "$*" >> {log}\\n'
    text = (
        'case "$1 $2" in "-m venv")\n'
        f"  mkdir -p $3/bin; printf '{inner}' > $3/bin/python; chmod +x $3/bin/python;;\n"
        "esac"
    )
    python = program(tmp_path / "tools", "python3", text)
    for _ in range(2):
        assert make(checkout, "test", f"PYTHON={python}", "ARGS=-k one").returncode == 0
    assert make(checkout, "demo", f"PYTHON={python}", "ARGS=--exit").returncode == 0
    ran = [line.split("--require-virtualenv ")[-1] for line in log.read_text().splitlines()]
    assert ran == [
        "--require-hashes -r requirements-dev.lock",
        "--no-deps --no-build-isolation -e .",
        "-m pytest -k one",
        "-m pytest -k one",
        "--require-hashes -r requirements.lock",
        "--no-deps --no-build-isolation -e .",
        "-m examples.ride.demo --exit",
    ]


def test_a_changed_lock_is_installed_again(checkout: Path, tmp_path: Path) -> None:
    """After a pull that changed the lock, the environment follows by itself."""
    said = make(checkout, "--dry-run", "test", "PYTHON=python3")
    assert "requirements-dev.lock" in said.stdout
    venv = checkout / ".venv"
    venv.mkdir()
    for stamp in (".made", ".dev"):
        (venv / stamp).touch()
    assert "requirements-dev.lock" not in make(checkout, "--dry-run", "test").stdout
    later = (venv / ".dev").stat().st_mtime + 10
    os.utime(checkout / "requirements-dev.lock", (later, later))
    assert "requirements-dev.lock" in make(checkout, "--dry-run", "test").stdout


def test_ci_runs_lint_then_tests_and_stops_at_the_first_failure(tmp_path: Path) -> None:
    """`.ci/run` sets CI=true, calls both targets in order, passes arguments on, and fails when one fails."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text('lint:\n\t@echo "lint $$CI"\ntest:\n\t@echo "test $(ARGS)"\n')
    done = subprocess.run([tmp_path / ".ci" / "run", "-k", "x"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["lint true", "test -k x"]
    (tmp_path / "Makefile").write_text("lint:\n\t@exit 1\ntest:\n\t@echo test\n")
    failed = subprocess.run([tmp_path / ".ci" / "run"], capture_output=True, text=True, check=False)
    assert failed.returncode != 0
    assert "test" not in failed.stdout.split()
