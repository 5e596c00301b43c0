"""docs/testing.md as a stranger would follow it: its files in an empty folder, its tests and its command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.testing import FAULTS

pytestmark = pytest.mark.timeout(320)

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```\w+ (file=(\S+)|run)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    for match in BLOCK.finditer(PAGE):
        if match[2]:
            path = folder / match[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(match[3], encoding="utf-8")
    return folder


def shell(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_its_tests_pass(folder: Path) -> None:
    """All of them, with nothing but pytest."""
    told = shell(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio")
    assert "6 passed" in told


def test_its_command_plays_the_seeds(folder: Path) -> None:
    """And finds the simulation beside the app."""
    (command,) = [match[3] for match in BLOCK.finditer(PAGE) if match[1] == "run"]
    told = shell(folder, sys.executable, "-m", *command.split())
    assert "50 seeds" in told
    assert "150 completed" in told


def test_its_table_has_every_fault() -> None:
    """By the name that --faults takes."""
    assert re.findall(r"^\| `([a-z-]+)` \|", PAGE.partition("| fault |")[2], re.M)[: len(FAULTS)] == list(
        FAULTS
    )
