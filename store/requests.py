"""What stands in ``idempotency``: keys of clients, and our own notes; they share the table, never a name."""

from __future__ import annotations

__all__ = ["ACCEPTED", "CLIENT"]

CLIENT = "client:"  # and the key that the client sent
ACCEPTED = "accepted:"  # and the id of a run whose start was accepted
