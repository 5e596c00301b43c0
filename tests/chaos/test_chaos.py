"""The short form of ``make chaos``: a leading node is killed and a disk is full, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from antiphon.devservices import ServiceUnavailable

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_nothing_is_lost_or_done_twice(rabbit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command that people type. (``rabbit`` is asked for so that it is installed.)"""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_TEST_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", "--short"),
        cwd=ROOT,
        env=own,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if process.returncode == 3:
        raise ServiceUnavailable(said.decode())
    with capsys.disabled():
        print(f"\n{said.decode()}", end="")
    told = json.loads(out.decode().splitlines()[-1])
    assert set(told["faults"]) == {"leader", "full-disk"}
    for account in told["faults"].values():
        assert account["sent"] == account["completed"] > 0, account
        assert account["lost"] == account["duplicated_effects"] == 0, account
    disk = told["faults"]["full-disk"]["said"]
    assert disk.startswith("503, Retry-After ")
    assert "full" in disk
    assert "see to its disk" in disk
    assert told["ok"] is True
    assert process.returncode == 0
