"""Durations as people write them: ``"10s"``, ``"1h30m"``, ``90``."""

from __future__ import annotations

import re
from datetime import timedelta

from contracts.errors import InvalidFlow

__all__ = ["Duration", "seconds"]

Duration = float | int | str | timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def seconds(value: Duration) -> float:
    """The duration in seconds. Raises InvalidFlow when it can't be read or is not positive."""
    match value:
        case timedelta():
            result = value.total_seconds()
        case str():
            result = _read(value)
        case _:
            result = float(value)
    if result <= 0:
        raise InvalidFlow(f"a duration must be positive, and {value!r} is not")
    return result


def _read(text: str) -> float:
    compact = text.replace(" ", "")
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise InvalidFlow(f"{text!r} is no duration: write 500ms, 10s, 5m, 2h, 1d or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
