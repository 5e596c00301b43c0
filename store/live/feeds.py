"""The names of the feeds that more than one room tells or follows."""

from __future__ import annotations

__all__ = ["workspace_feed"]


def workspace_feed(workspace: str) -> str:
    """The feed of all that happens in a workspace: facts, reactions and events."""
    return f"ws/{workspace}"
