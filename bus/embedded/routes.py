"""Which queues want a message: the bindings, with what was looked up remembered."""

from __future__ import annotations

from bus.port import Binding
from bus.routing import matches

__all__ = ["Routes"]

_MOST_KNOWN = 10_000  # routing keys remembered; partitions and event types are far fewer


class Routes:
    """The bindings of the exchanges of the house."""

    def __init__(self) -> None:
        self._bindings: dict[tuple[Binding, str], None] = {}
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}

    def add(self, exchange: str, pattern: str, queue: str) -> None:
        """Bind a queue; again is harmless."""
        self._bindings[Binding(exchange, pattern), queue] = None
        self._known.clear()

    def has(self, exchange: str, pattern: str, queue: str) -> bool:
        """Whether that binding is there."""
        return (Binding(exchange, pattern), queue) in self._bindings

    def find(self, exchange: str, routing_key: str) -> tuple[str, ...]:
        """The queues, each once however many of its bindings match."""
        found = self._known.get((exchange, routing_key))
        if found is None:
            found = tuple(
                dict.fromkeys(
                    queue
                    for binding, queue in self._bindings
                    if binding.exchange == exchange and matches(binding, routing_key)
                )
            )
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[exchange, routing_key] = found
        return found
