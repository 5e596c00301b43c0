"""How a process of the platform runs: its event loop and its garbage collector."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

__all__ = ["run"]

# Objects until the collector looks for rings among the young, and so many looks until it looks at older
# ones. Python's own 700 is for programs that hold little; a message makes hundreds, and hardly ever a ring.
_YOUNG, _OLDER, _OLDEST = 10_000, 20, 20


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` to its end: on uvloop where there is one; what was imported is left out of collections."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _OLDEST)
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        uvloop.run(main)
