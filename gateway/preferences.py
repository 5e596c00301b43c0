"""The Prefer header (RFC 7240)."""

from __future__ import annotations

__all__ = ["wait_preference"]


def wait_preference(header: str | None, longest: float) -> float | None:
    """Seconds to wait for a result, ``longest`` at the most; None without a ``wait`` we understand.

    A preference that can't be read is ignored, and the first of several counts (RFC 7240 §2).
    """
    for part in (header or "").split(","):
        name, separator, value = part.partition(";")[0].partition("=")
        if name.strip().lower() != "wait" or not separator:
            continue
        seconds = value.strip().strip('"')
        # isdigit alone takes digits of other scripts, and int() has no limit on how long it works.
        if seconds.isascii() and seconds.isdigit() and len(seconds) <= 9:
            return min(float(seconds), longest)
        return None
    return None
