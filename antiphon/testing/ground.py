"""The store that houses stand on."""

from __future__ import annotations

from sqlalchemy import Connection

from antiphon.testing.watch import TRIGGERS
from orchestrator.leases import make_partitions
from store import tables
from store.inline import InlineEngine

__all__ = ["Ground"]


class Ground:
    """The store of all the houses of one process, one after the other: made once, and emptied for each."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.engine = InlineEngine(clock=lambda: 0.0)
        self.engine.transact_now(self._make)
        self.engine.raw.executescript(TRIGGERS)
        self._image = self.engine.image()

    def fresh(self) -> InlineEngine:
        """The empty store."""
        self.engine.load(self._image)
        return self.engine

    def close(self) -> None:
        """Let go of the store."""
        self.engine.close_now()

    def _make(self, connection: Connection) -> None:
        tables.metadata.create_all(connection)
        make_partitions(connection, self.partitions)
