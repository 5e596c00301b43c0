"""The gateway under load: ``wait``, ``accept`` or ``bare``, COUNT requests, AT_ONCE at a time.

Every role of Antiphon (or a bare FastAPI app) in one process, the load in this one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from loadgen import measure

from benchmarks.http import Connection

PORT = int(os.environ["ANTIPHON_PORT"])
PATH = "/flows/bench/runs"


def serve(mode: str) -> subprocess.Popen[bytes]:
    """The server, in a process of its own."""
    bare = ["-m", "uvicorn", "--log-level", "warning", "--port", str(PORT), "gateway_load:make", "--factory"]
    command = bare if mode == "bare" else ["-m", "antiphon", "up", "antiphon_flows:here"]
    here = os.path.dirname(os.path.abspath(__file__))
    path = f"{here}:{os.environ['PYTHONPATH']}"
    return subprocess.Popen(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL
    )


async def main(mode: str, count: int, at_once: int) -> None:
    headers = {"Authorization": f"Bearer {os.environ.get('ANTIPHON_ADMIN_KEY', 'none')}"}
    if mode == "wait":
        headers["Prefer"] = "wait=20"
    free = [Connection(PORT, headers) for _ in range(at_once)]

    async def run(number: int) -> None:
        connection = free.pop()
        try:
            answer = await connection.post(PATH, b'{"id":"k%d"}' % number)
        finally:
            free.append(connection)
        if answer.status >= 300:
            raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")

    server = serve(mode)
    try:
        for patience in range(480):
            try:
                await run(-1 - patience)
                break
            except (OSError, EOFError, RuntimeError):
                if patience == 479:
                    raise
                await asyncio.sleep(0.25)
        await measure(run, count, at_once)
    finally:
        for connection in free:
            connection.close()
        server.terminate()
        server.wait(30)


def make() -> object:
    """The bare handler."""
    from fastapi import FastAPI  # only this side's server needs it
    from pydantic import BaseModel

    class Asked(BaseModel):
        id: str

    app = FastAPI()

    async def start(asked: Asked) -> dict[str, str]:
        return {"run": asked.id}

    start.__annotations__["asked"] = Asked  # a local class, which its name does not find
    app.post(PATH, status_code=202)(start)
    return app


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
