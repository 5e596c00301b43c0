"""Text from outside that becomes an id: short, printable, on one line."""

from __future__ import annotations

from gateway.problems import Problem

__all__ = ["checked_text"]


def checked_text(name: str, value: str | None, longest: int = 200, *, most_bytes: int = 0) -> str | None:
    """The value, if it has 1 to ``longest`` printable characters; None stays None.

    ``most_bytes``: of UTF-8, where that is bounded, too. Raises Problem (422). Control characters can't be
    stored by PostgreSQL or sent in a header.
    """
    fits = value is None or (0 < len(value) <= longest and value.isprintable())
    if fits and not (most_bytes and value and len(value.encode()) > most_bytes):
        return value
    expected = f"1 to {longest} printable characters"
    if most_bytes:
        expected += f", {most_bytes} bytes at most"
    raise Problem(
        "invalid-parameter",
        f"{name} must have {expected}.",
        errors=[{"parameter": name, "expected": expected, "got": repr(value)[:80]}],
    )
