"""The gateway under load: ``wait``, ``accept`` or ``bare``, COUNT requests, AT_ONCE at a time.

Every role of Antiphon (or a bare FastAPI app) in one process, the load in this one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import httpx
from loadgen import measure

PORT = int(os.environ["ANTIPHON_PORT"])
BASE = f"http://127.0.0.1:{PORT}"


async def main(mode: str, count: int, at_once: int) -> None:
    if mode == "bare":
        command = [
            "-m",
            "uvicorn",
            "--log-level",
            "warning",
            "--port",
            str(PORT),
            "gateway_load:make",
            "--factory",
        ]
    else:
        command = ["-m", "antiphon", "up", "antiphon_flows:here"]
    here = os.path.dirname(os.path.abspath(__file__))
    path = f"{here}:{os.environ['PYTHONPATH']}"
    server = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL
    )
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    headers = {"Authorization": f"Bearer {os.environ.get('ANTIPHON_ADMIN_KEY', 'none')}"}
    if mode == "wait":
        headers["Prefer"] = "wait=20"
    try:
        async with httpx.AsyncClient(base_url=BASE, headers=headers, limits=limits, timeout=30) as http:

            async def run(number: int) -> None:
                answer = await http.post("/flows/bench/runs", json={"id": f"k{number}"})
                if answer.status_code >= 300:
                    raise RuntimeError(f"{answer.status_code}: {answer.text[:300]}")

            for patience in range(240):
                try:
                    await run(-1 - patience)
                    break
                except (httpx.TransportError, RuntimeError):
                    if patience == 239:
                        raise
                    await asyncio.sleep(0.25)
            await measure(run, count, at_once)
    finally:
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
    app.post("/flows/bench/runs", status_code=202)(start)
    return app


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
