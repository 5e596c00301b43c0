"""One real server process of ours: started in its own folder, and ended by its pid, never by its name."""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from antiphon.devservices import reaper
from antiphon.devservices.errors import ServiceUnavailable

__all__ = ["Command", "LocalService", "RemoteService"]


@dataclass(frozen=True)
class Command:
    """What to run: arguments, whole environment, and the user where it may not be ours."""

    arguments: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    user: tuple[int, int] | None = None  # (uid, gid)


class LocalService(abc.ABC):
    """A server with its own data folder, which survives ``stop`` and ``kill`` and goes at ``close``.

    Every method blocks; an async caller runs it in a thread (``asyncio.to_thread``).
    """

    name: str
    stop_signal: signal.Signals = signal.SIGTERM
    start_seconds: float = 60.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"antiphon-{self.name}-"))
        self.log = self.folder / "out.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._reaper = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", reaper.__file__], stdin=subprocess.PIPE, start_new_session=True
        )
        self._tell(f"folder {self.folder}")

    @abc.abstractmethod
    def command(self) -> Command:
        """What runs the server in the foreground."""

    @abc.abstractmethod
    def ready(self) -> bool:
        """Whether it answers clients now."""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Raises ServiceUnavailable when it is not running."""
        if self._process is None or not self.running:
            raise ServiceUnavailable(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers. Raises ServiceUnavailable with the end of its log."""
        if self.running:
            return
        self._process = self.spawn(self.command())
        ends = time.monotonic() + self.start_seconds
        while not self.ready():
            if self._process.poll() is not None:
                raise ServiceUnavailable(f"{self.name} ended with {self._process.returncode}:\n{self.tail()}")
            if time.monotonic() > ends:
                self.kill()
                raise ServiceUnavailable(
                    f"{self.name} did not answer in {self.start_seconds:g} s:\n{self.tail()}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as an administrator would; killed when it takes longer than 30 s."""
        self._end(self.stop_signal, patience=30.0)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL, patience=10.0)

    def restart(self) -> None:
        """Stop it, start it again on the same ports with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and throw its data away."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._reaper.stdin is not None and not self._reaper.stdin.closed:
            self._reaper.stdin.close()
            self._reaper.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def tail(self, lines: int = 15) -> str:
        """The last lines that the server wrote."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def spawn(self, command: Command) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own that dies with us."""
        uid, gid = command.user or (None, None)
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - commands come from this package only
                [str(part) for part in command.arguments],
                env=dict(command.environment),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
            )
        self._tell(f"hold {process.pid}")
        return process

    def run(self, command: Command, seconds: float) -> int:
        """Run a command to its end, at most that long; its exit code (negative: the signal that ended it)."""
        process = self.spawn(command)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
        self._tell(f"release {process.pid}")
        return process.wait()

    def _end(self, how: signal.Signals, *, patience: float) -> None:
        if self._process is None:
            return
        self.reap(self._process, how, patience=patience)
        self._process = None

    def reap(self, process: subprocess.Popen[bytes], how: signal.Signals, *, patience: float) -> None:
        """Signal one process and wait for its end; kill its whole group when it is too slow."""
        if process.poll() is None:
            if how is signal.SIGKILL:
                _kill_group(process.pid)
            else:
                process.send_signal(how)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                _kill_group(process.pid)
                process.wait(patience)
        self._tell(f"release {process.pid}")

    def _tell(self, line: str) -> None:
        if self._reaper.stdin is not None and not self._reaper.stdin.closed:
            self._reaper.stdin.write(f"{line}\n".encode())
            self._reaper.stdin.flush()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it went first
        os.killpg(pid, signal.SIGKILL)


class RemoteService:
    """A server that somebody else runs: it can be used, not stopped."""

    name: str
    variable: str

    def start(self) -> None:
        """Nothing to do: whoever gave the address started it."""

    def stop(self) -> None:
        raise ServiceUnavailable(
            f"{self.name} comes from {self.variable}: it can't be stopped or started from here"
        )

    def kill(self) -> None:
        self.stop()

    def restart(self) -> None:
        self.stop()

    def close(self) -> None:
        """Nothing to do: it is not ours."""
