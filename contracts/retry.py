"""How often and how soon to try again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from contracts.errors import ConfigurationError

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with jitter. Times are in seconds.

    ``attempts`` counts the first one too; None is without end. ``jitter`` is the share of a delay
    that is left to chance: 0.2 spreads 10 s over 8 s to 12 s, so that what failed together does
    not come back together.
    """

    attempts: int | None = 5
    first: float = 0.5
    factor: float = 2.0
    most: float = 60.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ConfigurationError(f"Retry(attempts={self.attempts}): at least 1, or None for without end")
        if self.first < 0 or self.factor < 1 or self.most < self.first or not 0 <= self.jitter < 1:
            raise ConfigurationError(
                f"{self}: wants first >= 0, factor >= 1, most >= first and 0 <= jitter < 1"
            )

    @classmethod
    def until_done(cls, *, first: float = 0.5, factor: float = 2.0, most: float = 60.0) -> Retry:
        """Never give up: for what comes after the pivot."""
        return cls(attempts=None, first=first, factor=factor, most=most)

    @classmethod
    def once(cls) -> Retry:
        """One attempt, no retry."""
        return cls(attempts=1)

    def gives_up(self, attempt: int) -> bool:
        """Whether no further attempt follows after number ``attempt`` (from 1) has failed."""
        return self.attempts is not None and attempt >= self.attempts

    def delay(self, attempt: int, rng: Callable[[], float]) -> float:
        """Seconds to wait after attempt number ``attempt`` (from 1); ``rng`` gives 0 to 1."""
        # The exponent is bounded: factor ** attempt overflows a float after a thousand attempts.
        base = min(self.most, self.first * self.factor ** min(attempt - 1, 64))
        return base * (1 + self.jitter * (2 * rng() - 1))

    def spans(self) -> list[tuple[float, float]]:
        """The shortest and the longest that each different delay can be, in seconds."""
        retries = 64 if self.attempts is None else min(self.attempts - 1, 64)
        attempts = range(1, retries + 1)
        spans = [(self.delay(n, lambda: 0.0), self.delay(n, lambda: 1.0)) for n in attempts]
        return list(dict.fromkeys(spans))

    def as_json(self) -> dict[str, Any]:
        """The JSON form, part of a flow's."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Retry:
        """The policy that ``as_json`` wrote. Raises ConfigurationError."""
        try:
            return cls(**document)
        except TypeError as error:
            raise ConfigurationError(f"not a retry policy: {document!r}") from error
