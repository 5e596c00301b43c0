"""What may be to blame for the end of its process waits for its turn."""

from __future__ import annotations

import asyncio

from orchestrator.line import WHOLE, Line


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_shares_are_given_in_order_and_given_back() -> None:
    """Who wants the whole room waits for those before it, and those after it wait for it."""
    line, inside = Line(), list[str]()
    ends = {name: asyncio.Event() for name in ("small", "other", "whole", "late")}

    async def stay(name: str, size: int) -> None:
        async with line.share(size):
            inside.append(name)
            await ends[name].wait()
            inside.remove(name)

    sizes = {"small": 1, "other": 10, "whole": WHOLE, "late": 1}
    tasks = {name: asyncio.create_task(stay(name, size)) for name, size in sizes.items()}
    await _turns()
    assert inside == ["small", "other"]
    ends["small"].set()
    await _turns()
    assert inside == ["other"]
    tasks["other"].cancel()
    await _turns()
    assert inside[-1] == "whole"
    assert "late" not in inside
    ends["whole"].set()
    await _turns()
    assert inside[-1] == "late"
    ends["late"].set()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def test_who_leaves_the_line_holds_nobody_up() -> None:
    """Cancelled while it waits, or in the moment of its turn: the room is there for the next."""
    line = Line()
    first, gone = line.share(WHOLE), line.share(WHOLE)
    await first.__aenter__()
    waiting = asyncio.create_task(gone.__aenter__())
    after = asyncio.create_task(line.share(WHOLE).__aenter__())
    await _turns()
    waiting.cancel()
    await first.__aexit__(None, None, None)
    async with asyncio.timeout(5):
        await after
    assert waiting.cancelled() or waiting.done()
