"""Text from outside that becomes an id: short, printable, on one line."""

from __future__ import annotations

from gateway.problems import Problem

__all__ = ["checked_text"]


def checked_text(name: str, value: str | None, longest: int = 200) -> str | None:
    """The value, if it has 1 to ``longest`` printable characters; None stays None.

    Raises Problem (422). Control characters can't be stored by PostgreSQL or sent in a header.
    """
    if value is None or (0 < len(value) <= longest and value.isprintable()):
        return value
    raise Problem(
        "invalid-parameter",
        f"{name} must have 1 to {longest} printable characters.",
        errors=[
            {"parameter": name, "expected": f"1 to {longest} printable characters", "got": repr(value)[:80]}
        ],
    )
