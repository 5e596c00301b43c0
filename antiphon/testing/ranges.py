"""Seeds as they are written on a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from contracts.errors import ConfigurationError

__all__ = ["seeds_named"]

_PART = re.compile(r"(\d+)(?:\.\.(\d+))?")
_MOST = 10_000_000


def seeds_named(text: str) -> Sequence[int]:
    """The seeds of ``1..1000``, ``42`` or ``1..10,42``; both ends count. Raises ConfigurationError."""
    found: list[int] = []
    parts = text.split(",")
    for part in parts:
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ConfigurationError(
                f"{part!r} is no seed: write 42, 1..1000, or several with commas between"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ConfigurationError(f"{part!r} is no range: its end comes before its beginning")
        if last - first >= _MOST:
            raise ConfigurationError(f"{part!r} is more than {_MOST} seeds: that would take days")
        if len(parts) == 1:
            return range(first, last + 1)
        found.extend(range(first, last + 1))
    return found
