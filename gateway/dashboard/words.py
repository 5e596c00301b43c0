"""What a status is called, which icon stands for it and how it is toned: never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Status", "duration", "status"]


@dataclass(frozen=True, slots=True)
class Status:
    """A status as it is shown: ``icon`` names a drawing in ``_icons.html``, ``tone`` a colour."""

    name: str
    word: str
    icon: str
    tone: str  # ok, info, warn, bad, undo, quiet


_KNOWN = (
    # runs
    Status("accepted", "accepted", "queued", "quiet"),
    Status("running", "running", "play", "info"),
    Status("compensating", "compensating", "undo", "undo"),
    Status("completed", "completed", "check", "ok"),
    Status("compensated", "compensated", "undo", "undo"),
    Status("cancelled", "cancelled", "ban", "quiet"),
    Status("failed", "failed", "cross", "bad"),
    Status("stuck", "stuck", "alert", "bad"),
    Status("paused", "paused", "pause", "warn"),
    # nodes
    Status("waiting", "waiting", "clock", "info"),
    Status("retrying", "retrying", "retry", "warn"),
    Status("skipped", "not taken", "skip", "quiet"),
    Status("stopped", "stopped", "ban", "quiet"),
    Status("ahead", "not reached", "circle", "quiet"),
    # reactions and dead letters
    Status("queued", "queued", "queued", "quiet"),
    Status("claimed", "working", "play", "info"),
    Status("done", "done", "check", "ok"),
    Status("refused", "refused", "cross", "bad"),
    Status("dead", "dead letter", "dead", "bad"),
    Status("held", "in quarantine", "alert", "bad"),
    Status("redriven", "redriven", "retry", "info"),
    Status("discarded", "discarded", "trash", "quiet"),
    Status("missing", "has not come", "missing", "warn"),
    Status("unheard", "nobody listened", "mute", "warn"),
    Status("published", "published", "event", "info"),
    # health
    Status("up", "up", "check", "ok"),
    Status("down", "down", "cross", "bad"),
    Status("unknown", "unknown", "circle", "quiet"),
    Status("gone", "gone", "cross", "quiet"),
)
_BY_NAME = {known.name: known for known in _KNOWN}


def status(name: str) -> Status:
    """How ``name`` is shown; a name that is new to us is shown as it is, with a plain icon."""
    return _BY_NAME.get(name) or Status(name, name.replace("_", " "), "circle", "quiet")


def duration(seconds: float | None) -> str:
    """A length of time in at most two units: ``12 ms``, ``1.25 s``, ``3 min 20 s``, ``2 d 4 h``."""
    if seconds is None:
        return "–"
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.0005:
        return f"{seconds * 1e6:.0f} µs" if seconds else "0 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = (whole % size) // smaller
            return f"{whole // size} {name} {rest} {below}" if rest else f"{whole // size} {name}"
    return f"{whole} s"
