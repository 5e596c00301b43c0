"""Restate: COUNT invocations of three ``ctx.run`` steps, AT_ONCE at a time; a server, an endpoint."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile

import aiohttp
import hypercorn.asyncio
import hypercorn.config
import restate
import uvloop
from loadgen import measure

PORTS = [int(port) for port in os.environ["PORTS"].split(",")]  # ingress, admin, node, endpoint
bench = restate.Service("bench")


@bench.handler()
async def flow(ctx: restate.Context, id: str) -> int:
    one = await ctx.run_typed("first", lambda: 1)
    two = await ctx.run_typed("second", lambda: one + 1)
    return await ctx.run_typed("third", lambda: two + 1)


async def serve() -> None:
    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{PORTS[3]}"]
    config.h2_max_concurrent_streams = 2147483647
    config.keep_alive_max_requests = 2147483647
    await hypercorn.asyncio.serve(restate.app(services=[bench]), config)  # type: ignore[arg-type]


async def main(count: int, at_once: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as http:
        for _ in range(120):
            try:
                asked = {"uri": f"http://127.0.0.1:{PORTS[3]}", "use_http_11": False}
                async with http.post(f"http://127.0.0.1:{PORTS[1]}/deployments", json=asked) as answer:
                    if answer.status < 300:
                        break
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.5)
        else:
            raise SystemExit("Restate did not take the deployment in a minute")

        async def run(number: int) -> None:
            url = f"http://127.0.0.1:{PORTS[0]}/bench/flow"
            async with http.post(url, json=f"k{number}", headers={"idempotency-key": f"k{number}"}) as answer:
                if answer.status != 200:
                    raise RuntimeError(await answer.text())

        await measure(run, count, at_once)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        uvloop.run(serve())
    else:
        folder = tempfile.mkdtemp(prefix="restate-bench-")
        settings = {
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{PORTS[0]}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{PORTS[1]}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{PORTS[2]}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{PORTS[2]}",
            "RESTATE_LOG_FILTER": "warn",
            "DO_NOT_TRACK": "1",
        }
        log = open(f"{folder}/log", "w")  # noqa: SIM115 - as long as the process
        server = subprocess.Popen(
            [os.environ["RESTATE"], "--base-dir", folder],
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
        )
        endpoint = subprocess.Popen([sys.executable, __file__, "serve"])
        try:
            uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
        finally:
            for process in (endpoint, server):
                process.terminate()
            for process in (endpoint, server):
                process.wait(30)
