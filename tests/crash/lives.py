"""A house whose process may be killed: the lives it has had, and HTTP that outlasts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from contracts.crash import VARIABLE
from tests.crash.points import ROOT

__all__ = ["Backing", "House", "Nursery"]


class Nursery:
    """One ``tests.crash.nursery`` process; ``spawn`` starts a life in it, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def spawn(self, task: dict[str, Any]) -> Life:
        """A new process for ``task``, armed as it says."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return Life(Path(task["folder"]), task["life"], self._line(), self._line)

    def close(self) -> None:
        """End it, and whatever lives in it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


class Life:
    """One process, from its fork to its end."""

    def __init__(self, folder: Path, number: int, pid: int, ended: Any) -> None:
        self.number = number
        self.pid = pid
        self.status: int | None = None
        self._folder = folder
        self._waiter = threading.Thread(target=self._wait, args=(ended,), daemon=True)
        self._waiter.start()

    def _wait(self, ended: Any) -> None:
        self.status = ended()

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self._folder / f"log.{self.number}").read_text(errors="replace")

    def address(self) -> dict[str, str] | None:
        """Where it answers and the file with the key, once it does."""
        ready = self._folder / f"ready.{self.number}"
        return json.loads(ready.read_text()) if ready.exists() else None

    def ended(self, timeout: float) -> int | None:
        """Its exit status, -9 for a kill; None when it still lives after ``timeout`` seconds."""
        self._waiter.join(timeout)
        return self.status

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        with suppress(ProcessLookupError):  # it may be gone just now
            if self.status is None:
                os.kill(self.pid, signal.SIGTERM)


@dataclass(frozen=True)
class Backing:
    """What outlasts a process: the store, and the broker unless that is embedded in the store."""

    database_url: str
    amqp_url: str | None = None


@dataclass
class House:
    """The armed life first; when it has died at its point, others that are not armed."""

    nursery: Nursery
    folder: Path
    backing: Backing
    at: str
    old: bool = False  # the first life knows no flow NEWER
    sabotage: str | None = None
    retention: str | None = None  # of the lives that begin from now on
    limit: float = 90.0  # seconds for the whole story
    lives: list[Life] = field(default_factory=list)
    died: bool = False

    def __enter__(self) -> Self:
        self._deadline = time.monotonic() + self.limit
        self._http = httpx.Client(timeout=10.0, trust_env=False)
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        if self.lives[-1].status is None:
            os.kill(self.lives[-1].pid, signal.SIGKILL)
            self.lives[-1].ended(10.0)

    def begin(self) -> None:
        """Another life."""
        task = {
            "folder": str(self.folder),
            "life": len(self.lives),
            "at": None if self.died else self.at,
            "old": self.old and not self.lives,
            "sabotage": self.sabotage,
            "retention": self.retention,
            "database_url": self.backing.database_url,
            "amqp_url": self.backing.amqp_url,
        }
        self.lives.append(self.nursery.spawn(task))

    def check(self) -> None:
        """Go on with another life when this one was killed. Raises AssertionError for any other end."""
        self.in_time("the house to settle")
        life = self.lives[-1]
        if life.status is None:
            return
        self._must_be_killed(life)
        self.begin()

    def _must_be_killed(self, life: Life) -> None:
        assert life.status == -signal.SIGKILL, f"ended with {life.status}:\n{life.log[-4000:]}"
        assert not self.died, "an unarmed process was killed"
        last = life.log.splitlines()[-1]
        assert last == f"crash point {self.at.partition(':')[0]}", f"killed, but the last line is {last!r}"
        self.died = True

    def stop(self, *, again: bool = False) -> None:
        """SIGTERM until a life has ended well by it; ``again``: and then a new one begins."""
        while True:
            self.wait_until_ready()
            life = self.lives[-1]
            life.ask_to_stop()
            status = life.ended(20.0)
            assert status is not None, f"still there 20 s after SIGTERM:\n{life.log[-4000:]}"
            if status == 0:
                break
            self._must_be_killed(life)
            self.begin()
        if again:
            self.begin()

    def wait_until_ready(self) -> dict[str, str]:
        """The address of a life that answers."""
        while (address := self.lives[-1].address()) is None or self.lives[-1].status is not None:
            self.check()
            time.sleep(0.01)
        return address

    def in_time(self, what: str) -> None:
        """Raises AssertionError when the time for this house is over."""
        if time.monotonic() > self._deadline:
            raise AssertionError(f"waited {self.limit:g} s for {what}:\n{self.lives[-1].log[-6000:]}")

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        accept: tuple[int, ...] = (),
    ) -> httpx.Response:
        """Ask, and again, through the deaths of processes, until an answer below 500 comes.

        Any status of 400 and above that is not in ``accept`` raises AssertionError.
        """
        headers = {"Idempotency-Key": key} if key else {}
        while True:
            address = self.wait_until_ready()
            headers["Authorization"] = f"Bearer {Path(address['key_file']).read_text().strip()}"
            try:
                answer = self._http.request(method, address["url"] + path, json=body, headers=headers)
            except httpx.TransportError:
                time.sleep(0.01)
                self.check()
                continue
            if answer.status_code < 400 or answer.status_code in accept:
                return answer
            assert answer.status_code == 503, f"{method} {path}: {answer.status_code} {answer.text}"
            time.sleep(0.05)
