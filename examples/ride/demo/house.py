"""The house as operating-system processes: one that holds everything, or one per role."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.devservices import reaper
from examples.ride.demo.client import Gateway

__all__ = ["APP", "House", "HouseFailed", "free_port"]

APP = "examples.ride.app:app"
ROOT = Path(__file__).parents[3]
READY_SECONDS = 120.0
STOP_SECONDS = 30.0


class HouseFailed(Exception):
    """Raised when a process of the house ends by itself, or is not ready in time."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Worker:
    """One process: its name (``orchestrator-1``), what it runs, and where it logs."""

    name: str
    arguments: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    killed: bool = False


@dataclass
class House:
    """Starts, breaks and stops the processes. Everything of theirs is in ``folder``."""

    folder: Path
    environment: Mapping[str, str]
    workers: dict[str, Worker] = field(default_factory=dict)
    _reaper: subprocess.Popen[bytes] | None = None

    def run(self, name: str, *arguments: str) -> None:
        """Run ``antiphon <arguments>`` to its end. Raises HouseFailed when it fails."""
        self.start(name, *arguments)
        worker = self.workers.pop(name)
        if worker.process is not None and worker.process.wait(READY_SECONDS) != 0:
            raise HouseFailed(f"antiphon {' '.join(arguments)} failed:\n{tail(worker.log)}")

    def start(self, name: str, *arguments: str) -> None:
        """Start ``antiphon <arguments>`` as ``name``; a name that was started before starts again."""
        worker = self.workers.setdefault(name, Worker(name, arguments, self.folder / f"{name}.log"))
        worker.killed = False
        # A group of its own: Ctrl-C reaches the demo alone, which then stops the house in order.
        with worker.log.open("ab") as log:
            worker.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "antiphon", *arguments],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._hold(worker.process.pid)

    def again(self, name: str) -> None:
        """Start a worker that was killed once more."""
        self.start(name, *self.workers[name].arguments)

    def kill(self, name: str) -> int:
        """``kill -9``: no goodbye, no clean-up. The process id that it was."""
        worker = self.workers[name]
        if worker.process is None or worker.process.poll() is not None:
            raise HouseFailed(f"{name} can't be killed: it is not running.\n{tail(worker.log)}")
        worker.killed = True
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        return worker.process.pid

    def check(self) -> None:
        """Raises HouseFailed, with the end of its log, when a process has ended that nobody killed."""
        for worker in self.workers.values():
            process = worker.process
            if process is not None and process.poll() is not None and not worker.killed:
                raise HouseFailed(f"{worker.name} ended with {process.returncode}:\n{tail(worker.log)}")

    async def ready(self, gateway: Gateway, seconds: float = READY_SECONDS) -> None:
        """Wait until the gateway says that it and all it needs are there. Raises HouseFailed."""
        try:
            async with asyncio.timeout(seconds):
                while not await gateway.ready():
                    self.check()
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            logs = "\n".join(f"--- {w.name}\n{tail(w.log)}" for w in self.workers.values())
            raise HouseFailed(f"not ready after {seconds:.0f} s:\n{logs}") from error

    def stop(self) -> None:
        """Ask every process to drain and end; kill those that take too long."""
        running = [w.process for w in self.workers.values() if w.process and w.process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._reaper is not None and self._reaper.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it went first; nothing is left to reap
                self._reaper.stdin.close()
            self._reaper.wait()

    def _hold(self, pid: int) -> None:
        """Let the reaper end this process too, should the demo itself be killed."""
        if self._reaper is None:
            self._reaper = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-I", "-S", reaper.__file__], stdin=subprocess.PIPE, start_new_session=True
            )
        if self._reaper.stdin is not None:
            self._reaper.stdin.write(f"hold {pid}\n".encode())
            self._reaper.stdin.flush()


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log that say more than that all is well; the whole of it stays in its file."""
    text = log.read_text(errors="replace") if log.exists() else ""
    telling = [line for line in text.splitlines() if '"level":"info"' not in line]
    return "\n".join(telling[-lines:]) or f"(nothing out of the ordinary in {log})"
