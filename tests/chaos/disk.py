"""A full disk under the embedded file: a small file system of our own, filled and emptied."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from antiphon.devservices import ServiceUnavailable
from examples.ride.trips import Trip
from tests.chaos.account import Account, settle
from tests.chaos.faults import Pace
from tests.chaos.ground import Ground, open_embedded
from tests.chaos.load import Load

__all__ = ["full_disk", "small_disk"]

MEGABYTES = 10  # so few that a log which is not written back in time fills it, also at the short pace


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = MEGABYTES) -> Iterator[Path]:
    """A file system in memory, mounted at ``folder``. Raises ServiceUnavailable when we may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "antiphon-chaos", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ServiceUnavailable(f"a full disk needs mount(8): {error}") from error
    if done.returncode != 0:
        raise ServiceUnavailable(f"a full disk needs root's right to mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: a process that is still ending may hold a file.
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


def _fill(folder: Path) -> Path:
    """Write until nothing more goes on."""
    path = folder / "somebody-else's-file"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):  # ENOSPC is what we are here for
                while True:
                    os.write(handle, b"x" * size)
    finally:
        os.close(handle)
    return path


async def full_disk(folder: Path, *, pace: Pace, rate: float, trips: list[Trip]) -> Account:
    """Fill the disk under load, see what a client is told, make room, and see all of it go on by itself.

    Raises TimeoutError when nobody was told anything: the disk was full and nothing said so.
    """
    with small_disk(folder / "disk") as disk:
        async with open_embedded(folder, disk) as ground:
            async with Load(ground.gateway, "full-disk", rate=rate, trips=trips) as load:
                await asyncio.sleep(pace.before)
                filler = _fill(disk)
                said = await _answer(ground, filler)
                await asyncio.sleep(pace.after / 2)
                filler.unlink()
                mark = time.time()
                await asyncio.sleep(pace.after / 2)
            ground.house.check()
            return await settle(ground.gateway, ground.ledger, ground.mailbox, load, mark, said)


async def _answer(ground: Ground, filler: Path) -> str:
    """What the gateway says to a client that has something to keep, once it can't."""
    event = {"specversion": "1.0", "id": "probe", "source": "/chaos", "type": "trip.ended.v1"}
    data = {"ride_id": "nobody", "at": "2019-03-23T20:21:09", "distance": 1, "tip_cents": 0}
    headers = {"Authorization": f"Bearer {ground.key}", "Content-Type": "application/cloudevents+json"}
    async with asyncio.timeout(30.0), httpx.AsyncClient(trust_env=False, timeout=20.0) as client:
        while True:
            _fill(filler.parent)  # the store gives pages back now and then: they are gone at once
            answer = await client.post(
                f"{ground.gateway.url}/events", headers=headers, json={**event, "data": data}
            )
            if answer.status_code == 503:
                return f"503, Retry-After {answer.headers.get('retry-after')}: {answer.json().get('detail')}"
            await asyncio.sleep(0.2)
