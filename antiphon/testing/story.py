"""What happened in one seed, line by line in virtual time: the same seed tells the same, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Story"]


class Story:
    """Lines of ``<seconds> <who> <what>``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.lines: list[str] = []

    def tell(self, who: str, what: str) -> None:
        """Something happened now."""
        self.lines.append(f"{self._clock():10.4f}  {who:<18} {what}")

    def __str__(self) -> str:
        return "\n".join(self.lines)
