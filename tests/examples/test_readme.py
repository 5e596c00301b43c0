"""The README's ten minutes, done as a stranger would do them: in an empty folder, block by block."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+) (file=(\S+)|run|background)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY_SECONDS = 60.0


@dataclass(frozen=True)
class Block:
    """One block of the README: a file to write, or commands to run."""

    language: str
    kind: str
    file: str | None
    text: str


def blocks() -> list[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## The ten minutes\n")[2].partition("\n## ")[0]
    found = BLOCK.finditer(section)
    return [Block(m[1], m[2].partition("=")[0], m[3], m[4]) for m in found]


class Stranger:
    """Somebody with a checkout's environment, an empty folder and a README."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
        # The one thing that differs from what is written: a port that nobody else has.
        self.environment = {**kept, "PATH": path, "ANTIPHON_PORT": str(self.port)}
        self.processes: list[subprocess.Popen[bytes]] = []

    def write(self, block: Block) -> None:
        assert block.file is not None
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def run(self, block: Block) -> str:
        """What the commands print. A reactor may be later than ``sleep 1``: looked for again."""
        until = time.monotonic() + READY_SECONDS
        done = self._try(block)
        while done.returncode != 0 and time.monotonic() < until and "cat thanks.txt" in block.text:
            done = self._try(block)
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def _try(self, block: Block) -> subprocess.CompletedProcess[str]:
        script = block.text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        return subprocess.run(
            ["sh", "-eu", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self, block: Block) -> None:
        with (self.folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-eu", "-c", f"exec {block.text}"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        until = time.monotonic() + READY_SECONDS
        while not self._ready():
            assert process.poll() is None, f"it ended by itself:\n{self.logs()}"
            assert time.monotonic() < until, f"not ready after {READY_SECONDS:.0f} s:\n{self.logs()}"
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def order(self, order_id: str, cents: int) -> tuple[int, dict[str, Any]]:
        """Place an order; the status and the document that come back."""
        key = (self.folder / ".antiphon" / "development.key").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/flows/order/runs",
            data=json.dumps({"order_id": order_id, "email": "ann@example.org", "cents": cents}).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    def logs(self) -> str:
        log = self.folder / "up.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else ""

    def leave(self) -> None:
        for process in self.processes:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    if shutil.which("curl") is None:
        reason = "the README's commands use curl, which is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    someone = Stranger(tmp_path)
    yield someone
    someone.leave()


def test_the_ten_minutes_work_as_written(stranger: Stranger) -> None:
    """Files, check, start, an order that completes with its reactor, and one that is undone."""
    said: list[str] = []
    for block in blocks():
        if block.kind == "file":
            stranger.write(block)
        elif block.kind == "background":
            stranger.start(block)
        else:
            said.append(stranger.run(block))
    _, placed, thanks, declined = said
    run = json.loads(placed)
    assert run["status"] == "completed"
    assert run["result"]["receipt"].startswith("receipt-")
    assert thanks == f"To ann@example.org: thank you! {run['result']['receipt']}\n"
    undone, released = json.JSONDecoder().raw_decode(declined)
    assert (undone["status"], undone["error"]["code"]) == ("compensated", "card_declined")
    assert declined[released:].strip() == "o-2"

    assert stranger.order("o-1", 1250)[1]["id"] == run["id"], "once more: the same run"
    assert stranger.order("o-1", 1251)[0] == 409, "the same key with another input"
    status, problem = stranger.order("o-3", 0)
    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, ["/cents"])


def test_every_block_of_the_ten_minutes_is_run() -> None:
    """No code in that section is there for show only."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## The ten minutes\n")[2].partition("\n## ")[0]
    assert len(blocks()) == len(re.findall(r"^```\w", section, re.MULTILINE)) >= 6


def test_links_of_the_readme_lead_somewhere() -> None:
    """Each relative link is a file or folder of the checkout."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
