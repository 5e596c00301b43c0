"""The embedded bus: durable in one SQLite file, or in memory, for one process."""

from bus.embedded.bus import EmbeddedBus
from bus.embedded.storage import Storage

__all__ = ["EmbeddedBus", "Storage"]
