"""Look-ahead at the beginning of a pattern: it says the same as several patterns without it.

``^(?=A)(?!B)C`` is what ``^A`` and ``^C`` match and ``^B`` does not. Patterns of passwords are like that, and
those of decimals, as pydantic writes them.
"""

from __future__ import annotations

import re

__all__ = ["parted"]

# A reference to a group by its number or name would lead elsewhere once the pattern is in parts; and where a
# class ends that begins with ], engines don't agree.
_TIMES = ("*", "+", "?", "{")
_ODD = re.compile(r"\\[1-9k]|\[\^?\]")


def parted(pattern: str) -> list[tuple[str, bool]] | None:
    """The patterns, and whether each has to match; None when the pattern does not begin with look-ahead."""
    at = 1
    parts: list[tuple[str, bool]] = []
    if not pattern.startswith("^") or _ODD.search(pattern):
        return None
    while pattern.startswith(("(?=", "(?!"), at):
        end = _closing(pattern, at)
        if end is None:
            return None
        inner = pattern[at + 3 : end]
        if inner.startswith("^"):
            inner = inner[1:]
            if inner.startswith(_TIMES):
                return None
        parts.append((f"^(?:{inner})", pattern[at + 2] == "="))
        at = end + 1
    if not parts or _has_alternatives(pattern, at):
        return None
    return [*parts, (f"^{pattern[at:]}", True)]


def _closing(pattern: str, at: int) -> int | None:
    """Where the group that opens at a place ends; None when it does not, or begins with an alternative."""
    depth = 0
    for place, char in _bare(pattern, at):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return place
        if char == "|" and depth == 1 and pattern[at + 3 : at + 4] == "^":
            return None
    return None


def _has_alternatives(pattern: str, at: int) -> bool:
    depth = 0
    for _, char in _bare(pattern, at):
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            return True
    return False


def _bare(pattern: str, at: int) -> list[tuple[int, str]]:
    """The characters from a place on that are neither escaped nor inside a class."""
    found, in_class, escaped = [], False, False
    for place in range(at, len(pattern)):
        char = pattern[place]
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        else:
            found.append((place, char))
    return found
