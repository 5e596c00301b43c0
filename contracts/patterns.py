"""Patterns of what a key may say: ``*`` is any part of one word, ``**`` any number of words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

__all__ = ["Patterns"]

_MOST_KNOWN = 4_096


class Patterns:
    """Allows what one of its patterns matches and none of those that begin with ``!``.

    ``separator`` stands between words: ``/`` in a source, ``.`` in a type or the name of a queue. The whole
    text must match, and case counts.
    """

    def __init__(self, patterns: Iterable[str], separator: str) -> None:
        self.patterns = tuple(patterns)
        self._separator = separator
        self._known: dict[str, bool] = {}

    def allow(self, text: str) -> bool:
        """Whether the text is allowed."""
        found = self._known.get(text)
        if found is None:
            found = self._matches(self._allowed, text) and not self._matches(self._denied, text)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[text] = found
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patterns) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __str__(self) -> str:
        return ", ".join(self.patterns) or "nothing"

    @cached_property
    def _allowed(self) -> list[re.Pattern[str]]:
        return [self._compile(pattern) for pattern in self.patterns if not pattern.startswith("!")]

    @cached_property
    def _denied(self) -> list[re.Pattern[str]]:
        return [self._compile(pattern[1:]) for pattern in self.patterns if pattern.startswith("!")]

    def _compile(self, pattern: str) -> re.Pattern[str]:
        word = f"[^{re.escape(self._separator)}]*"
        parts = [
            ".*" if part == "**" else word if part == "*" else re.escape(part)
            for part in re.split(r"(\*\*|\*)", pattern)
        ]
        return re.compile("".join(parts), re.DOTALL)

    @staticmethod
    def _matches(patterns: list[re.Pattern[str]], text: str) -> bool:
        return any(pattern.fullmatch(text) is not None for pattern in patterns)
