"""What just happened, told to whoever watches: the live feed of each workspace."""

from __future__ import annotations

from typing import Any

from store.live.feeds import workspace_feed
from store.live.port import Live
from store.live.teller import Teller

__all__ = ["Feed"]

_BETWEEN, _PATIENCE = 0.02, 0.1  # seconds: nobody sees a page change sooner
_MOST_WAITING = 10_000


class Feed:
    """Appends entries to ``ws/<workspace>``, in the background; see ``store.live.teller``."""

    def __init__(self, live: Live) -> None:
        self._teller = Teller(live, gather=_BETWEEN, patience=_PATIENCE, most=_MOST_WAITING)

    def tell(self, workspace: str, entry: dict[str, Any]) -> None:
        """Hand over one entry; returns at once."""
        self._teller.tell(workspace_feed(workspace), entry)

    async def flush(self) -> None:
        """Return when what was handed over is appended or dropped."""
        await self._teller.flush()
