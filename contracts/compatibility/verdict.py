"""The three answers to "may the reader read all that the writer may write?"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Compatible", "Incompatible", "Unknown", "Verdict"]


@dataclass(frozen=True, slots=True)
class Compatible:
    """Every instance that the writer's schema accepts is accepted by the reader's. It was proved."""

    @property
    def word(self) -> str:
        """The verdict in one word, for machines."""
        return "compatible"

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {"verdict": self.word}

    def __str__(self) -> str:
        return "compatible"


@dataclass(frozen=True, slots=True)
class Incompatible:
    """``counterexample`` is accepted by the writer's schema and refused by the reader's, says the validator.

    ``pointer`` is the place in it that the reader refuses (RFC 6901), ``why`` what the reader wants there.
    """

    counterexample: Any
    pointer: str
    why: str

    @property
    def word(self) -> str:
        """The verdict in one word, for machines."""
        return "incompatible"

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "verdict": self.word,
            "counterexample": self.counterexample,
            "pointer": self.pointer,
            "why": self.why,
        }

    def __str__(self) -> str:
        return f"incompatible: {self.why}"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Neither was proved; ``reason`` says what stood in the way. Counts as a failure."""

    reason: str

    @property
    def word(self) -> str:
        """The verdict in one word, for machines."""
        return "unknown"

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {"verdict": self.word, "reason": self.reason}

    def __str__(self) -> str:
        return f"unknown: {self.reason}"


Verdict = Compatible | Incompatible | Unknown
