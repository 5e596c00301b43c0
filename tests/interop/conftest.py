"""Node.js with other people's code: the official AsyncAPI parser, the CloudEvents SDK, an AMQP client."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from antiphon.devservices import ServiceUnavailable

TOOLS = Path(__file__).parents[1] / "tools" / "node"
INSTALL_SECONDS = 100.0
RUN_SECONDS = 60.0


class Node:
    """Runs the scripts of tests/tools/node; what they need is installed once, as locked."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._folder: Path | None = None

    def run(self, script: str, given: Any) -> Any:
        """What the script prints, given this. Raises ServiceUnavailable without Node.js or the packages."""
        node = shutil.which("node")
        if node is None:
            raise ServiceUnavailable("there is no Node.js here (node, 20 or newer) to run what others wrote")
        self._folder = self._folder or self._installed()
        shutil.copy(TOOLS / script, self._folder)
        text = given if isinstance(given, str) else json.dumps(given)
        ran = subprocess.run(
            [node, script],
            cwd=self._folder,
            input=text.encode(),
            capture_output=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return json.loads(ran.stdout)

    def _installed(self) -> Path:
        lock = TOOLS / "package-lock.json"
        folder = self._cache / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
        if folder.exists():
            return folder
        npm = shutil.which("npm")
        if npm is None:
            raise ServiceUnavailable("there is no npm here to install what others wrote")
        # Elsewhere first: two runs of the tests may install at the same time, and one may be stopped.
        fresh = Path(tempfile.mkdtemp(dir=self._cache))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(TOOLS / name, fresh)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        ran = subprocess.run(command, cwd=fresh, capture_output=True, timeout=INSTALL_SECONDS, check=False)
        if ran.returncode != 0:
            shutil.rmtree(fresh)
            raise ServiceUnavailable(f"npm ci failed: {ran.stderr.decode()[-500:]}")
        if not folder.exists():
            fresh.rename(folder)
        return folder


@pytest.fixture(scope="session")
def node(pytestconfig: pytest.Config) -> Node:
    """Other people's JavaScript."""
    return Node(pytestconfig.cache.mkdir("node"))
