"""Starts the processes that are killed: has everything imported once, and forks for each life.

Reads one JSON object a line (``folder``, ``life``, ``at``, ``old``, ``sabotage``, ``retention``,
``database_url``, ``amqp_url``), answers with the child's pid, and when it has ended with its
exit status; then the next line. It has one thread, and no event loop: what is forked is as good as new.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import uvloop

import antiphon.process
import orchestrator.journal
import orchestrator.partition
import reactors.desk
import reactors.inbox
import reactors.presence
from antiphon import logs
from antiphon.app import App
from antiphon.retaining import retaining
from antiphon.roles import Address, declare, orchestrating
from antiphon.rooms import Rooms
from antiphon.settings import Settings
from bus.port import DIRECT, Message, Outgoing
from contracts.crash import arm
from orchestrator.reconciler import Reconciler
from tests.crash.app import app, old_app, set_world
from tests.crash.sabotage import SABOTAGE

FORGED = "forged-1"


def main() -> None:
    """Fork for each line, one at a time."""
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            _live(task)
        print(child, flush=True)
        print(_ended(child), flush=True)


def _ended(child: int) -> int:
    """The exit status. A child whose asker has gone (standard input is closed) must not live on."""
    ends = os.pidfd_open(child)
    ready, _, _ = select.select([ends, 0], [], [])
    if ends not in ready:
        os.kill(child, signal.SIGKILL)
    os.close(ends)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _live(task: dict[str, Any]) -> None:
    folder = Path(task["folder"])
    log = os.open(folder / f"log.{task['life']}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(log, number)
    code = 1
    try:
        logs.configure("info", "json", role="up")
        _hurry()
        _misfit()
        set_world(folder)
        if task["sabotage"]:
            SABOTAGE[task["sabotage"]]()
        arm(task["at"])
        uvloop.run(_process(task, folder))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _hurry() -> None:
    """What waits for a dead process waits for less: seconds would pass after each of a hundred crashes."""
    reactors.presence.TTL = 0.8
    reactors.presence.EVERY = 0.2
    reactors.desk.HOLD = reactors.inbox.HOLD = 0.1
    orchestrator.partition._LATER_PAUSE = 0.2
    Reconciler.__init__.__kwdefaults__["every"] = 0.2
    getattr(retaining, "__wrapped__").__kwdefaults__["every"] = 0.2  # noqa: B009 - below its context manager


def _misfit() -> None:
    """One run that the database does not take, whatever happens."""
    written = orchestrator.journal.new_row

    def new_row(run: Any) -> tuple[Any, ...]:
        if run.key == "unfit":
            raise ValueError("the database does not take this")
        return written(run)

    orchestrator.journal.new_row = new_row


async def _process(task: dict[str, Any], folder: Path) -> None:
    settings = Settings(
        home=folder,
        database_url=task["database_url"],
        amqp_url=task["amqp_url"],
        port=0,
        partitions=4,
        lease_seconds=1.0,
        renew_seconds=0.25,
        drain_seconds=0.5,
        retention=task["retention"],
    )
    antiphon.process.declare = functools.partial(_declare, folder)
    if task["old"]:
        antiphon.process.orchestrating = lambda _, rooms: orchestrating(old_app, rooms)
    ready = folder / f"ready.{task['life']}"

    def on_ready(address: Address | None) -> None:
        assert address is not None
        unseen = ready.with_suffix(".part")
        unseen.write_text(json.dumps({"url": address.url, "key_file": address.key_file}))
        unseen.rename(ready.with_name(f"ready.{task['life']}"))

    await antiphon.process.run_process(app, settings, "up", on_ready=on_ready)


async def _declare(folder: Path, app: App, rooms: Rooms) -> None:
    """As in every process; and a message that nobody signed comes in, past the bus that signs."""
    await declare(app, rooms)
    if not (folder / "forged").exists():
        unsigned = getattr(rooms.bus, "_inner")  # noqa: B009 - it is private for good reason
        await unsigned.publish(Outgoing(Message(FORGED, b"{}"), "reactor.slow", DIRECT))
        await asyncio.to_thread((folder / "forged").touch)


if __name__ == "__main__":
    main()
