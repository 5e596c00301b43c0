"""Puts what several machines wrote down by their own clocks onto one axis.

A run's facts are the measure. What reacts is moved as a whole, by as much as is needed for an effect
not to come before its cause, and what it emitted is moved with it, and so on down the chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.dashboard.story_drafts import RowData

__all__ = ["Clocks"]


class Clocks:
    """``commands`` maps a command's id to when it was sent and when its answer was taken, if it was."""

    def __init__(
        self,
        events: Sequence[RowData],
        reactions: Sequence[RowData],
        commands: Mapping[str, tuple[float, float | None]],
    ) -> None:
        self._events = {str(event["id"]): event for event in events}
        self._commands = commands
        self._reactions: dict[str, list[RowData]] = {}
        for reaction in reactions:
            self._reactions.setdefault(str(reaction["event_id"]), []).append(reaction)
        self._published: dict[str, float] = {}

    def emitter(self, event: RowData) -> RowData | None:
        """The reaction that emitted an event; None when it was none of this story's."""
        source = str(event["source"]).rstrip("/")
        causes = self._reactions.get(str(event.get("causation") or ""), [])
        return next((cause for cause in causes if source.endswith(f"/{cause['reactor']}")), None)

    def published(self, event_id: str) -> float | None:
        """When an event or a command was sent; None when nobody wrote that down."""
        if event_id in self._published:
            return self._published[event_id]
        event = self._events.get(event_id)
        if event is None:
            return self._commands[event_id][0] if event_id in self._commands else None
        at = self._published[event_id] = float(event["at"])  # known already, if its causes are a circle
        cause = self.emitter(event)
        if cause is not None:
            self._published[event_id] = at + self.skew(cause)
        return self._published[event_id]

    def skew(self, reaction: RowData) -> float:
        """By how many seconds a reaction is drawn later (or, below zero, earlier) than its clock said."""
        event_id, finished = str(reaction["event_id"]), reaction.get("finished_at")
        _, answered = self._commands.get(event_id, (0.0, None))
        published, skew = self.published(event_id), 0.0
        if answered is not None and finished is not None and float(finished) > answered:
            skew = answered - float(finished)
        if published is not None and float(reaction["received_at"]) + skew < published:
            skew = published - float(reaction["received_at"])
        return skew
